/**
 * RETR of everything, in MB/s on the wire and CPU time of the server: one command at a time and 32 in flight, from
 * ordinary sockets; and one at a time from a client that acknowledges at once, so that servers without TCP_NODELAY do
 * not wait for it, also with a mailbox that is not in the page cache. Beside them a server that sends prepared
 * answers by sendfile(2), to the same client. Then a mailbox with CRLF, where hardly anything is to be changed: not of the
 * peers, of which some take it for one message.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ask, inSession, openAndQuit } from '../clients.mjs';
import { writeWithCrlf } from '../mailboxes.mjs';
import { cpuTime } from '../processes.mjs';
import { inRound, inTurns, placeFor } from '../running.mjs';
import { OURS } from '../servers.mjs';

const LIMIT = 'sendfile';
/** Octets without which CPU time, counted in hundredths of a second, says nothing. */
const FOR_CPU = 20e6;

export async function retr(bench) {
  const main = bench.mailboxes.find(({ main }) => main);
  const { user, mailbox, name } = main;
  const plain = [
    { how: 'one at a time', depth: 1, targets: [{ against: 'best', least: 1 }] },
    { how: '32 in flight', depth: 32, targets: [{ against: 'best', least: 1.25 }] },
    { how: 'one at a time, acknowledged at once', depth: 1, flags: ['quickack'] },
    {
      how: 'one at a time, acknowledged at once, from the disk',
      depth: 1,
      flags: ['quickack'],
      evicted: true,
    },
  ];
  const ways = plain.map(way => withRows(bench, name, way, [{ against: 'best', most: 1.5 }]));
  const crlfWays = [
    { how: 'one at a time, CRLF', depth: 1 },
    { how: '32 in flight, CRLF', depth: 32 },
  ].map(way => withRows(bench, name, way));
  const servers = await bench.running.all(bench, ways[0].speed);
  placeFor(bench, servers, mailbox(), user);
  const limit = await startSendfile(bench, mailbox());
  try {
    await inTurns(bench, ways[0].speed, servers, 1, server => openAndQuit(bench, server, user));
    for (let round = 0; round < Math.min(bench.rounds, 3); round++)
      for (const way of ways)
        await inTurns(bench, way.speed, [...inRound(servers, round), limit], 1, server =>
          retrieve(bench, server, main, way),
        );
  } finally {
    limit.child.kill('SIGKILL');
  }
  const ours = servers.filter(({ name }) => name === OURS);
  const crlf = () => bench.site.master(`${user} with CRLF`, path => writeWithCrlf(path, mailbox()));
  placeFor(bench, ours, crlf(), user);
  await inTurns(bench, crlfWays[0].speed, ours, 1, server => openAndQuit(bench, server, user));
  for (let round = 0; round < Math.min(bench.rounds, 3); round++)
    for (const way of crlfWays)
      await inTurns(bench, way.speed, ours, 1, server =>
        retrieve(bench, server, { user, mailbox: crlf }, way),
      );
}

function withRows(bench, name, way, targets = []) {
  const speed = { better: 'more', digits: 0, limit: LIMIT, targets: way.targets };
  return {
    ...way,
    speed: bench.table.row(`RETR ${way.how}, ${name}`, 'MB/s', speed),
    cpu: bench.table.row(`server CPU, RETR ${way.how}`, 'ms/100 MB', { digits: 0, limit: LIMIT, targets }),
  };
}

async function retrieve(bench, server, { user, mailbox }, { depth, speed, cpu, evicted, flags = [] }) {
  await inSession(
    bench,
    server,
    user,
    async (next, { messages }) => {
      if (messages !== mailbox().messages) throw new Error(`it finds ${messages} messages`);
      if (evicted) await ask(bench.tools.limits, 'evict', server.answers ?? join(server.spool, user));
      const before = cpuTime(server.pid);
      const { ms, octets } = await next(`all RETR ${depth} ${bench.mostMs}`);
      const used = cpuTime(server.pid) - before;
      const [rate, each] = [octets / 1e3 / ms, (used / octets) * 1e8];
      if (server.name === LIMIT) speed.limits.push(rate);
      else speed.add(server.name, rate);
      if (octets >= FOR_CPU && server.name === LIMIT) cpu.limits.push(each);
      else if (octets >= FOR_CPU) cpu.add(server.name, each);
      await next('quit');
    },
    ...flags,
  );
}

async function startSendfile({ site, tools }, mailbox) {
  const [answers, index] = ['answers', 'index'].map(name => join(site.root, 'masters', name));
  writeAnswers(mailbox, answers, index);
  const child = spawn(tools.limits, ['sendfile', answers, index], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return { name: LIMIT, answers, child, pid: child.pid, port: Number(/:(\d+)$/.exec(line)[1]) };
}

/** The replies to RETR as they go over the wire, and where each ends. */
function writeAnswers({ path, starts, octets }, answers, index) {
  const mail = readFileSync(path);
  const fd = openSync(answers, 'w');
  const ends = new BigUint64Array(starts.length);
  let end = 0;
  for (const [n, start] of starts.entries()) {
    const text = mail.toString('latin1', mail.indexOf(10, start) + 1, (starts[n + 1] ?? octets) - 1);
    const wire = text.replaceAll('\n', '\r\n').replaceAll('\r\n.', '\r\n..');
    end += writeSync(fd, Buffer.from(`+OK\r\n${wire}.\r\n`, 'latin1'));
    ends[n] = BigInt(end);
  }
  closeSync(fd);
  writeFileSync(index, ends);
}
