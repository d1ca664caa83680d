/**
 * What a refused login tells by its text and its time: interleaved tries for an unknown user, a wrong
 * password, a locked user, one without POP3 and one denied, at the real failure delay. The texts must be the
 * same and the times indistinguishable; an area under the curve near 0.5 says that a time picked from one
 * kind is as likely the longer as one of another kind (0.45 to 0.55 is noise at this number of tries).
 *
 * usage: node bench/login-timing.mjs [--smoke] [TRIES]   (after npm run build)
 */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { linuxHost } from '../dist/lib/host/linux.js';
import { amount, withLoginServers } from './login-server.mjs';

const PASSWORD = 'correct horse';
/** At a time; fewer than make the hashing queue longer than the delay. */
const CLIENTS = 10;

const tries = amount(2000, 50);
await withLoginServers(users, async start => {
  // The waits for a guesser are the same for all, and would be all there is to see.
  report(await measure(await start(['--max-failure-delay', '0', '--deny-users', 'denied'])));
});

async function users(uid) {
  const hash = await linuxHost.crypt(Buffer.from(PASSWORD), '$y$j9T$abcdefghijklmnop$');
  const line = (user, field, extra = '') => `${user}:${field}:${uid}:${uid}::::${extra}\n`;
  const others = Array.from({ length: 20 }, (_, i) => line(`user${i}`, hash));
  const named = [
    line('known', hash),
    line('locked', `!${hash}`),
    line('nopop', hash, 'pop3=no'),
    line('denied', hash),
  ];
  return [...others, ...named];
}

async function measure(port) {
  // Right passwords where the account is what stands in the way.
  const kinds = [
    ['unknown user', 'nobody-there', 'wrong'],
    ['wrong password', 'known', 'wrong'],
    ['locked', 'locked', PASSWORD],
    ['pop3=no', 'nopop', PASSWORD],
    ['deny-users', 'denied', PASSWORD],
  ].map(([kind, user, password]) => ({ kind, user, password, times: [], replies: new Set() }));
  let next = 0;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (next < tries) {
        const kind = kinds[next++ % kinds.length];
        const { time, reply } = await tryOnce(port, kind.user, kind.password);
        kind.times.push(time);
        kind.replies.add(reply);
      }
    }),
  );
  return kinds;
}

function report(kinds) {
  const [, wrong] = kinds;
  console.log('| refused because | tries | median ms | 5 % | 95 % | area against "wrong password" |');
  console.log('|---|---:|---:|---:|---:|---:|');
  for (const { kind, times } of kinds) {
    times.sort((a, b) => a - b);
    const at = share => times[Math.floor(share * (times.length - 1))].toFixed(1);
    console.log(
      `| ${kind} | ${times.length} | ${at(0.5)} | ${at(0.05)} | ${at(0.95)} | ${area(times, wrong.times).toFixed(3)} |`,
    );
  }
  const replies = new Set(kinds.flatMap(kind => [...kind.replies]));
  console.log(`\nreplies: ${[...replies].join(' / ')}`);
  if (replies.size !== 1) process.exitCode = 1;
}

/** The chance that a time of `a` is longer than one of `b`. */
function area(a, b) {
  let wins = 0;
  for (const x of a) for (const y of b) wins += x > y ? 1 : x === y ? 0.5 : 0;
  return wins / (a.length * b.length);
}

async function tryOnce(port, user, password) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  await lines.next();
  socket.write(`USER ${user}\r\n`);
  await lines.next();
  const began = performance.now();
  socket.write(`PASS ${password}\r\n`);
  const { value: reply } = await lines.next();
  const time = performance.now() - began;
  socket.end('QUIT\r\n');
  return { time, reply };
}
