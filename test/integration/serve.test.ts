/** `mbox-pop3d serve` as a process: whom it becomes, where it listens, what it finds wrong, what it logs. */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { leftByOthers } from '../support/left-by-others.js';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, launch, type Running } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { flagsFor, SERVED_BY, servePlaces, serving } from '../support/serving.js';

const USER = 'alice';

/** Ids and capabilities of every thread: uid and gid are per thread to the kernel. */
function privileges({ pid }: Running): Set<string> {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return new Set(
    tasks.map(task => {
      const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'latin1');
      return (status.match(/^(?:Uid|Gid|Groups|CapPrm|CapEff|CapAmb):.*$/gm) ?? [])
        .map(line => line.trim().replace(/\s+/g, ' '))
        .join('; ');
    }),
  );
}

/** A session that downloads and deletes. */
async function deletesTheFirst(port: number, host?: string): Promise<void> {
  const client = await Pop3Client.greeted(port, host === undefined ? {} : { host });
  await client.logIn(USER, passwordOf(USER));
  await client.multiline('RETR 1');
  await client.ok('DELE 1');
  await client.ok('QUIT');
  await client.rest();
}

test('an ordinary user serves, from a state directory made on the way', async () => {
  const places = servePlaces({ [USER]: messages(3).join('') });
  const { server, port } = await serving({ ...places, state: join(places.root, 'a', 'b') });
  await deletesTheFirst(port);
  expect(places.content(USER)).toBe(messages(3).slice(1).join(''));
  expect(await server.stop()).toBe(0);
  expect(readdirSync(places.spool)).toEqual([USER]);
});

if (!IS_ROOT) console.warn('\n*** SKIPPED: serve started as root, which only root can try ***\n');

describe.skipIf(!IS_ROOT)('started as root', () => {
  test('it becomes the user, for good and in every thread, and serves as that', async () => {
    const places = servePlaces({ [USER]: messages(3).join('') });
    // Of root's, as a users file is; read before the change of user.
    chownSync(places.users, 0, 0);
    chmodSync(places.users, 0o644);
    const server = launch([...flagsFor(places), '--user', 'nobody', '--group', 'nogroup']);
    const port = await server.port();
    const { uid, gid } = SERVED_BY;
    const ids = (id: number) => `${id} ${id} ${id} ${id}`;
    const none = '0000000000000000';
    const expected = `Uid: ${ids(uid)}; Gid: ${ids(gid)}; Groups: ${gid}; CapPrm: ${none}; CapEff: ${none}; CapAmb: ${none}`;
    expect(privileges(server)).toEqual(new Set([expected]));
    await deletesTheFirst(port);
    expect(privileges(server)).toEqual(new Set([expected]));
    expect(places.content(USER)).toBe(messages(3).slice(1).join(''));
    expect(await server.stop()).toBe(0);
  });

  test('it makes state directories that the user can reach, parents too', async () => {
    const places = servePlaces({ [USER]: messages(3).join('') });
    chownSync(places.root, 0, 0);
    chmodSync(places.root, 0o755);
    const state = join(places.root, 'some', 'where');
    const args = flagsFor({ ...places, state });
    const port = await launch([...args, '--user', 'nobody', '--group', 'nogroup']).port();
    await deletesTheFirst(port);
    expect(places.content(USER)).toBe(messages(3).slice(1).join(''));
  });
});

const hasIpv6 = Object.values(networkInterfaces()).some(all => all?.some(one => one.address === '::1'));
if (!hasIpv6) console.warn('\n*** SKIPPED: listening on [::1], which this host does not have ***\n');

test.skipIf(!hasIpv6)('several addresses, IPv6 among them, each in the ready line', async () => {
  const places = servePlaces({ [USER]: messages(3).join('') });
  const { server, port } = await serving(places, ['--listen', '[::1]:0', '--listen', 'localhost:0']);
  const ports = await server.ports();
  expect(server.stdout()).toMatch(
    /^mbox-pop3d ready on 127\.0\.0\.1:\d+ \[::1\]:\d+ (127\.0\.0\.1|\[::1\]):\d+\n$/,
  );
  await deletesTheFirst(port);
  await deletesTheFirst(ports[1]!, '::1');
  expect(places.content(USER)).toBe(messages(3)[2]);
  await server.logged(/Z info ::1 logout user=alice /);
});

test('settings from the environment; a flag on the command line wins', async () => {
  const places = servePlaces({ [USER]: message(1) });
  const { spool, users, state } = places;
  const env = {
    MBOX_POP3D_LISTEN: '127.0.0.1:0',
    MBOX_POP3D_SPOOL: spool,
    MBOX_POP3D_USERS: '/nonexistent',
    MBOX_POP3D_STATE_DIR: state,
    MBOX_POP3D_READ_ONLY: 'true',
  };
  const server = launch(['serve', '--users', users], { ...(IS_ROOT && SERVED_BY), env });
  const client = await Pop3Client.loggedIn(await server.port(), USER, passwordOf(USER));
  expect(await client.ask('DELE 1')).toMatch(/^-ERR \[SYS\/PERM\] /);
});

test('a state directory that cannot be listed is said, and keeps nobody from the mail', async () => {
  const places = servePlaces({ [USER]: messages(3).join('') });
  mkdirSync(join(places.state, 'run'), { recursive: true });
  for (const dir of [places.state, join(places.state, 'run')]) chownSync(dir, SERVED_BY.uid, SERVED_BY.gid);
  chmodSync(places.state, 0o300);
  const { server, port } = await serving(places);
  await server.logged(/Z error - recovery-failed reason=".*EACCES/);
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  await client.multiline('RETR 1');
  await client.ok('QUIT');
  expect(await server.stop()).toBe(0);
});

describe('self-check at start', () => {
  const warning = (trouble: string, remedy: string) =>
    new RegExp(`Z warn - self-check trouble="${trouble}[^"]*" remedy="[^"]*${remedy}`);

  test('nothing to say of a spool that is as it should be', async () => {
    const { server } = await serving(servePlaces({ [USER]: message(1) }));
    expect(server.stderr()).not.toContain('self-check');
  });

  test('a spool in which no dotlock can be made', async () => {
    const places = servePlaces({ [USER]: message(1) });
    chmodSync(places.spool, 0o500);
    const { server, port } = await serving(places);
    await server.logged(warning(`dotlocks cannot be created in ${places.spool}`, 'group'));
    const client = await Pop3Client.greeted(port);
    await client.ok(`USER ${USER}`);
    expect(await client.ask(`PASS ${passwordOf(USER)}`)).toMatch(/^-ERR \[SYS\/PERM\] /);

    const without = await serving(places, ['--locks', 'fcntl']);
    expect(without.server.stderr()).not.toContain('self-check');
    await deletesTheFirst(without.port);
    expect(places.content(USER)).toBe('');
  });

  test('a mailbox that cannot be opened: the first is named, with each way out', async () => {
    const places = servePlaces({ [USER]: message(1) });
    chmodSync(places.mailbox(USER), 0);
    const { server, port } = await serving(places);
    await server.logged(
      warning(`mailbox ${places.mailbox(USER)} cannot be opened for writing`, 'chmod 0660'),
    );
    expect(server.stderr().match(/self-check/g)).toHaveLength(1);
    expect(server.stderr()).toMatch(
      / remedy="[^"]*delivery agent[^"]*" or="[^"]*CAP_DAC_OVERRIDE[^"]*inetd nowait"\n/,
    );
    const client = await Pop3Client.greeted(port);
    await client.ok(`USER ${USER}`);
    expect(await client.ask(`PASS ${passwordOf(USER)}`)).toMatch(/^-ERR \[SYS\/PERM\] /);
  });

  test('files that other programs left beside the mailboxes are not taken for some', async () => {
    const places = servePlaces({ [USER]: message(1) });
    for (const name of leftByOthers(USER)) writeFileSync(join(places.spool, name), '', { mode: 0 });
    const { server } = await serving(places);
    expect(server.stderr()).not.toContain('self-check');
  });

  test('a spool that everybody can write to, and that is not sticky', async () => {
    const places = servePlaces({ [USER]: message(1) });
    chmodSync(places.spool, 0o777);
    const { server } = await serving(places);
    await server.logged(warning(`${places.spool} is writable by everybody`, 'chmod 2775'));
  });

  test('no spool: said, and logins are told to come back', async () => {
    const places = servePlaces({ [USER]: message(1) });
    const { server, port } = await serving(places);
    renameSync(places.spool, `${places.spool}.unmounted`);
    const client = await Pop3Client.greeted(port);
    await client.ok(`USER ${USER}`);
    expect(await client.ask(`PASS ${passwordOf(USER)}`)).toMatch(/^-ERR \[SYS\/TEMP\] /);
    await server.stop();

    const again = await serving(places);
    await again.server.logged(warning(`${places.spool}: ENOENT`, 'mount the spool'));
    renameSync(`${places.spool}.unmounted`, places.spool);
    await deletesTheFirst(again.port);
  });
});

describe('the journal', () => {
  /** stderr into a file, and `JOURNAL_STREAM` as the shell text says. */
  const into = (file: string, stream: string) => [
    'sh',
    '-c',
    `exec 2>"$0"; JOURNAL_STREAM=${stream}; export JOURNAL_STREAM; exec "$@"`,
    file,
  ];

  test.each([
    ['as stderr: priorities, no times', '$(stat -Lc %d:%i "$0")', /^<6>- users-file /m],
    ['somewhere else: times, no priorities', '1:2', /^\d{4}-\d\d-\d\dT\S+Z info - users-file /m],
  ])('%s', async (_, stream, expected) => {
    const places = servePlaces({ [USER]: message(1) });
    const logs = join(places.root, 'logs');
    mkdirSync(logs);
    chownSync(logs, SERVED_BY.uid, SERVED_BY.gid);
    const file = join(logs, 'stderr');
    const { port, server } = await serving(places, [], { wrapper: into(file, stream) });
    await deletesTheFirst(port);
    await server.stop();
    expect(readFileSync(file, 'latin1')).toMatch(expected);
  });
});
