/** STATE as it should not be, for a root nowait door; and an UPDATE killed there, finished by the next login or `recover`. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { Pop3Client } from '../support/pop3-client.js';
import { testAsRoot } from './as-root.js';
import { nowait, SECRET, tryLogin } from './login.js';
import { ALICE, BOB, MAIL, MAIL_OF_ALICE, PROGRAM, ScratchHost, SERVICE } from './scratch-host.js';

const REFUSAL = '-ERR [SYS/PERM] the server is not set up\r\n';

describe('the state directory', () => {
  const cases: [string, number, RegExp, (host: ScratchHost) => void][] = [
    ['of somebody else', 78, /is owned by uid 61002: chown it to uid 0/, host => host.makeState(BOB)],
    [
      'writable by everybody',
      78,
      /is writable by everybody: chmod o-w/,
      host => host.makeState({ uid: 0, gid: 0 }, 0o777),
    ],
    [
      'of a shared server',
      78,
      /holds the state of a shared server, and this one is per-user: give each its/,
      host => {
        host.makeState(SERVICE);
        writeFileSync(join(host.state, 'model'), 'shared\n');
      },
    ],
    [
      'with a model that is a link to what only root reads',
      78,
      /cannot read .*model: ELOOP/,
      host => {
        host.makeState(BOB);
        symlinkSync('/etc/shadow', join(host.state, 'model'));
      },
    ],
  ];
  for (const [name, code, reason, prepare] of cases) {
    testAsRoot([], `${name}: one POP3 line, one line of syslog`, async () => {
      const host = await ScratchHost.create();
      prepare(host);
      const door = await nowait(host);
      const client = await Pop3Client.connect(door.port);
      expect(await client.rest()).toBe(REFUSAL);
      expect(await door.exits()).toEqual([code]);
      // Facility mail, priority err.
      expect(await host.logged(/not-started/)).toMatch(/^<19>- not-started reason="/);
      expect(host.log).toHaveLength(1);
      expect(host.log[0]).toMatch(reason);
    });
  }

  testAsRoot([], 'read-only', async () => {
    const host = await ScratchHost.create();
    host.makeState({ uid: 0, gid: 0 }, 0o711);
    const readOnly = [
      'sh',
      '-c',
      `mount --bind ${host.state} ${host.state} && mount -o remount,bind,ro ${host.state} && exec "$@"`,
      'sh',
    ];
    const door = await nowait(host, [], { wrapper: readOnly });
    const client = await Pop3Client.connect(door.port);
    expect(await client.rest()).toBe(REFUSAL);
    expect(await door.exits()).toEqual([73]);
    expect(await host.logged(/not-started/)).toMatch(/cannot create .*: EROFS/);
  });

  testAsRoot([], 'missing: made, each directory for whom it is', async () => {
    const host = await ScratchHost.create();
    host.fill('alice', MAIL_OF_ALICE.join(''), ALICE);
    expect(await tryLogin(await nowait(host), 'alice')).toMatch(/^\+OK/);
    const seen = ['', 'model', 'run', 'alice'].map(name => {
      const { uid, mode } = lstatSync(join(host.state, name));
      return [name, uid, (mode & 0o7777).toString(8)];
    });
    expect(seen).toEqual([
      ['', 0, '711'],
      ['model', 0, '644'],
      ['run', 0, '700'],
      ['alice', ALICE.uid, '700'],
    ]);
  });

  testAsRoot([], 'of a per-user server: the shared one refuses, as root and as its account', async () => {
    const host = await ScratchHost.create();
    expect(await tryLogin(await nowait(host), 'alice')).toMatch(/^\+OK/);
    const serve = (...wrapper: string[]) => {
      const [file, ...args] = host.inside([
        ...wrapper,
        process.execPath,
        PROGRAM,
        'serve',
        '--listen=127.0.0.1:0',
        ...host.flags,
      ]);
      return spawnSync(file!, args, { encoding: 'latin1', timeout: 60_000 });
    };
    for (const wrapper of [[], ['setpriv', `--reuid=${SERVICE.uid}`, `--regid=${MAIL}`, '--clear-groups']]) {
      const { status, stdout, stderr } = serve(...wrapper);
      expect({ status, stdout }).toEqual({ status: 78, stdout: '' });
      expect(stderr).toMatch(/mbox-pop3d: \S+ holds the state of a per-user server, and this one is shared/);
      expect(stderr).not.toMatch(/\n {4}at /);
    }
  });

  testAsRoot(
    [],
    'STATE/USER that root made and was killed before giving away; one of somebody else',
    async () => {
      const host = await ScratchHost.create();
      host.makeState({ uid: 0, gid: 0 }, 0o711);
      for (const user of ['alice', 'bob']) mkdirSync(join(host.state, user), { mode: 0o700 });
      chownSync(join(host.state, 'bob'), ALICE.uid, ALICE.gid);
      const door = await nowait(host);
      expect(await tryLogin(door, 'alice')).toMatch(/^\+OK/);
      expect(lstatSync(join(host.state, 'alice')).uid).toBe(ALICE.uid);
      expect(await tryLogin(door, 'bob')).toBe('-ERR [SYS/PERM] state directory is not owned by its user');
      expect(lstatSync(join(host.state, 'bob')).uid).toBe(ALICE.uid);
    },
  );
});

describe('an UPDATE killed as the user', () => {
  /** Kills it between the first write to the mailbox and the end of its journal. */
  async function killed(user: 'alice' | 'bob', owner: typeof ALICE, host: ScratchHost): Promise<void> {
    host.fill(user, MAIL_OF_ALICE.join(''), { ...owner, gid: MAIL });
    // The first write of the mailbox is done, the second never.
    const tracer = [
      'strace',
      '-f',
      '-o',
      '/dev/null',
      '-P',
      host.mailbox(user),
      '-e',
      'trace=pwrite64,ftruncate',
    ];
    const inject = ['-e', 'inject=ftruncate:signal=KILL:when=1'];
    const door = await nowait(host, [], { wrapper: [...tracer, ...inject] });
    const client = await Pop3Client.loggedIn(door.port, user, SECRET);
    await client.ok('DELE 2');
    client.send('QUIT\r\n');
    expect(await client.rest()).toBe('');
    await door.exits();
    const journal = lstatSync(join(host.state, user, 'journal'));
    expect(journal.uid).toBe(owner.uid);
    expect(journal.size).toBeGreaterThan(0);
  }
  const LEFT = MAIL_OF_ALICE.filter((_, i) => i !== 1).join('');

  testAsRoot(['strace'], 'is finished by the next login', async () => {
    const host = await ScratchHost.create();
    await killed('alice', ALICE, host);
    const client = await Pop3Client.loggedIn((await nowait(host)).port, 'alice', SECRET);
    expect(await client.ok('STAT')).toMatch(/^\+OK 4 /);
    await client.ok('QUIT');
    await client.rest();
    expect(host.content('alice')).toBe(LEFT);
    expect(host.spoolNames()).toEqual(['alice']);
  });

  testAsRoot(['strace'], 'is finished by `recover`, a process for each user', async () => {
    const host = await ScratchHost.create();
    await killed('alice', ALICE, host);
    await killed('bob', BOB, host);
    const [file, ...args] = host.inside([process.execPath, PROGRAM, 'recover', ...host.flags]);
    const { status, stdout } = spawnSync(file!, args, { encoding: 'latin1', timeout: 60_000 });
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: 'alice: interrupted update finished\nbob: interrupted update finished\n',
    });
    for (const [user, { uid }] of [
      ['alice', ALICE],
      ['bob', BOB],
    ] as const) {
      expect(readFileSync(host.mailbox(user), 'latin1')).toBe(LEFT);
      const { uid: owner, size } = lstatSync(join(host.state, user, 'journal'));
      expect([owner, size]).toEqual([uid, 0]);
    }
    expect(host.spoolNames()).toEqual(['alice', 'bob']);
  });

  testAsRoot(
    ['strace'],
    'of a user whose directory was tampered with does not keep others from theirs',
    async () => {
      const host = await ScratchHost.create();
      await killed('alice', ALICE, host);
      await killed('bob', BOB, host);
      chmodSync(join(host.state, 'alice'), 0o755);
      const [file, ...args] = host.inside([process.execPath, PROGRAM, 'recover', ...host.flags]);
      const { status, stdout } = spawnSync(file!, args, { encoding: 'latin1', timeout: 60_000 });
      expect(status).toBe(75);
      expect(stdout).toMatch(/^alice: not recovered: [^\n]*\nbob: interrupted update finished\n$/);
      expect(host.content('bob')).toBe(LEFT);
    },
  );
});
