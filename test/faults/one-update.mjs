/**
 * One session's way through a maildrop over the built code, as a process of its own that a test can kill.
 * Says `ready TID` (TID: the one thread that does the file I/O, UV_THREADPOOL_SIZE=1), and waits for `open`;
 * says `opened COUNT`, with the messages of argv marked, and waits for `update`; says `ok` or `err CODE TEXT`.
 * Without marks UPDATE is nothing but the release of the locks, and all that happens is recovery.
 */
import { promises, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

const { dist, marks, settings, become } = JSON.parse(process.argv[2]);
const { loadHost } = await import(`${dist}/lib/host/load.js`);
const { nodeIo } = await import(`${dist}/lib/maildrop/io.js`);
const { Spool } = await import(`${dist}/lib/maildrop/open.js`);
const { createLog } = await import(`${dist}/lib/log.js`);

const { host } = await loadHost();
const log = createLog(line => say(`log ${line.trimEnd()}`));
const ownerOf = () => process.geteuid();
const lockYield = settings.lockYield ?? Number.POSITIVE_INFINITY; // JSON has no Infinity
const spool = new Spool({ io: nodeIo, host, log }, { ...settings, lockYield, takeover: 0, ownerOf });
const holder = { silence: () => 0, cut: () => {} };
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** write(2) in the main thread: not one of the calls that a test counts. */
function say(line) {
  writeSync(1, `${line}\n`);
}

async function expect(word) {
  const { value } = await lines.next();
  if (value !== word) process.exit(70);
}

function describe(error) {
  const causes = [];
  for (let e = error; e !== undefined; e = e.cause) causes.push(String(e.message ?? e));
  return `err ${error.code ?? ''} ${causes.join(': ')}`.replaceAll('\n', ' ');
}

if (become !== undefined) {
  await host.warmUp();
  process.setgroups([become.gid]);
  process.setgid(become.gid);
  process.setuid(become.uid);
}
// Asked in the thread itself, by a call that libuv makes there.
const thread = (await promises.readlink('/proc/thread-self')).split('/').pop();
say(`ready ${thread}`);
await expect('open');
try {
  const maildrop = await spool.open({ user: 'alice' }, { address: '192.0.2.7', port: 40000 }, holder);
  for (const n of marks) await maildrop.mark(n);
  say(`opened ${maildrop.messages}`);
  await expect('update');
  await maildrop.update();
  say('ok');
} catch (error) {
  say(describe(error));
}
process.exit(0);
