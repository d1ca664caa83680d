// What a killed server leaves in the spool beside its locks, and who clears up after it.
import { chownSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, run as runProgram } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY, servePlaces, serving } from '../support/serving.js';

const USERS = ['alice', 'bob', 'carol', 'dave'];
const MAIL = messages(2).join('');

test('the next server removes it, or recover; what a living process is about to use stays', async () => {
  const places = servePlaces(Object.fromEntries(USERS.map(user => [user, MAIL])));
  const hidden = () => readdirSync(places.spool).filter(name => name.startsWith('.'));
  const run = join(places.state, 'run');
  const sockets = () => readdirSync(run).filter(name => name.endsWith('.socket'));
  const killBusyServer = async () => {
    const { server, port } = await serving(places, ['--lock-yield', 'never']);
    const [, ...others] = await Promise.all(
      USERS.map(user => Pop3Client.loggedIn(port, user, passwordOf(user))),
    );
    for (const session of others) await session.ok('QUIT');
    await vi.waitFor(() => expect(hidden()).toHaveLength(others.length), { timeout: 30_000 });
    server.child.kill('SIGKILL');
    await server.exited;
    // Nobody may have made it just now, to listen at it next.
    for (const socket of sockets()) utimesSync(join(run, socket), 0, 0);
  };
  const leaveLock = (name: string, pid: number) => {
    writeFileSync(join(places.spool, name), `${pid}:${hostname()}\n`);
    chownSync(join(places.spool, name), SERVED_BY.uid, SERVED_BY.gid);
  };
  await killBusyServer();
  expect(sockets()).toHaveLength(1);
  const name = `.alice.lock.${hostname()}.${process.pid}.1`;
  leaveLock(name, process.pid);
  const { server } = await serving(places);
  await server.logged(/ info - lock-files-removed count=3\n/);
  await server.logged(/ info - sockets-removed count=1\n/);
  expect(hidden()).toEqual([name]);
  expect(sockets()).toEqual([]);
  await server.stop();

  const flags = ['--spool', places.spool, '--users', places.users, '--state-dir', places.state];
  const recover = () => runProgram(['recover', ...flags], IS_ROOT ? SERVED_BY : {});
  expect(await recover()).toMatchObject({ code: 0, stdout: 'no interrupted update\n' });
  leaveLock(`.bob.lock.${hostname()}.${server.pid}.7`, server.pid);
  expect(await recover()).toMatchObject({
    code: 0,
    stdout: 'no interrupted update\nlock files of dead processes removed: 1\n',
  });
  expect(hidden()).toEqual([name]);
});
