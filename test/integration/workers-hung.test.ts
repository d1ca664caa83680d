/**
 * A worker that hangs, such as one that was stopped in the middle of an UPDATE: nobody waits for it for ever, and
 * nothing is lost with it. Real processes.
 */
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { servePlaces } from '../support/serving.js';
import { pair } from '../support/workers.js';

/** Stops a process when a file is being changed, in the middle of what it does there. */
async function stopWhileWriting(pid: number, file: string): Promise<void> {
  const before = statSync(file, { bigint: true }).mtimeNs;
  while (statSync(file, { bigint: true }).mtimeNs === before) {
    await new Promise(resolve => setImmediate(resolve));
  }
  process.kill(pid, 'SIGSTOP');
}

test('a worker that hangs is killed: the other goes on, its UPDATE is finished, it is replaced', async () => {
  const all = [message('first'), message('large', 'a line\n'.repeat(1_000_000)), message('last')];
  const places = servePlaces({ alice: all.join(''), bob: messages(2).join('') });
  const { server, port, workers } = await pair(places, ['--worker-timeout', '4']);
  const [a, b] = workers;
  const survivor = await b.loggedIn('bob');
  const victim = await a.loggedIn('alice');
  await victim.ok('DELE 1');
  victim.send('QUIT\r\n');
  await stopWhileWriting(a.pid, places.mailbox('alice'));
  await server.logged(/ worker-replaced\n/);
  const pid = `worker=${a.pid}`;
  expect(server.stderr()).toMatch(
    new RegExp(
      ` worker-hung ${pid} reason="no answer for 4 s" connections=1\n.* worker-lost ${pid} reason=SIGKILL `,
    ),
  );
  await victim.rest();
  await survivor.ok('NOOP');
  const next = await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
  expect(await next.ok('STAT')).toMatch(/^\+OK 2 /);
  expect(places.content('alice')).toBe(all.slice(1).join(''));
  expect(server.stderr().match(/ worker-hung /g)).toHaveLength(1);
});

test('SIGTERM with a worker that hangs: it is killed; an UPDATE that takes longer finishes in another', async () => {
  const all = [message('first'), message('large', 'a line\n'.repeat(1_000_000))];
  const places = servePlaces({ alice: all.join(''), bob: messages(2).join('') });
  const { server, workers } = await pair(places, [
    '--worker-timeout',
    '4',
    '--lock-yield',
    '0',
    '--lock-timeout',
    '100',
  ]);
  const [a, b] = workers;
  const waiting = await b.loggedIn('bob');
  await waiting.ok('DELE 1');
  // The lock of a program that is alive: this one.
  const lock = `${places.mailbox('bob')}.lock`;
  writeFileSync(lock, `${process.pid}\n`, { flag: 'wx' });
  waiting.send('QUIT\r\n');
  const victim = await a.loggedIn('alice');
  await victim.ok('DELE 1');
  victim.send('QUIT\r\n');
  await stopWhileWriting(a.pid, places.mailbox('alice'));
  server.child.kill('SIGTERM');
  await server.logged(/ worker-hung .*\n.* worker-lost .* reason=SIGKILL connections=1\n/);
  // The other has waited for its lock all the while, and answered.
  rmSync(lock);
  expect(await waiting.rest()).toMatch(/^\+OK .*signing off \(1 messages? left\)\r\n$/);
  expect(await server.exited).toBe(0);
  expect(places.content('bob')).toBe(messages(2)[1]);
  expect(places.content('alice')).toBe(all[1]);
  expect(server.stderr()).not.toContain('worker-replaced');
});
