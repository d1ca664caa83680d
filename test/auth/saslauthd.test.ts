/**
 * The real saslauthd in a scratch host: shadow passwords, its own PAM, a sasldb; down, started again, and
 * stopped in the middle.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chmodSync, chownSync, existsSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { testAsRoot } from '../doors/as-root.js';
import { PASSWORD, type ScratchHost } from '../doors/scratch-host.js';
import { CANNOT, pamService, perUser, REFUSED, scratch, shared, WELCOME } from './scratch.js';

const SASL = 45;
const PATH = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

/** As Debian's package makes it. */
function runDirectory(host: ScratchHost): string {
  const dir = join(host.root, 'saslauthd');
  mkdirSync(dir, { recursive: true });
  chownSync(dir, 0, SASL);
  chmodSync(dir, 0o710);
  return dir;
}

/** Started, and listening. */
async function saslauthd(
  host: ScratchHost,
  ...flags: string[]
): Promise<{ child: ChildProcess; socket: string }> {
  const dir = runDirectory(host);
  const [file, ...args] = host.inside(['saslauthd', '-d', '-n', '0', '-m', dir, ...flags]);
  const child = spawn(file!, args, { env: PATH, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', text => {
    said += text;
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  await expect.poll(() => said, { timeout: 20_000 }).toMatch(/listening on socket/);
  const socket = join(dir, 'mux');
  expect(existsSync(socket)).toBe(true);
  return { child, socket };
}

const flagsFor = (host: ScratchHost) => [
  '--auth=saslauthd',
  `--saslauthd-socket=${join(host.root, 'saslauthd/mux')}`,
];

testAsRoot(
  ['saslauthd'],
  'shadow passwords, by a server that is not root; down, and there again',
  async () => {
    const host = await scratch();
    runDirectory(host);
    const outsider = await shared(host, flagsFor(host));
    await outsider.logged(/self-check trouble=".* is closed to us.* adduser mbox-pop3d sasl/);
    expect(await outsider.running.stop()).toBe(0);
    appendFileSync(host.etc('group'), `sasl:x:${SASL}:mbox-pop3d\n`);
    const served = await shared(host, flagsFor(host));
    expect(await served.tryLogin('alice')).toMatch(CANNOT);
    await served.logged(/ENOENT/);
    const { child } = await saslauthd(host, '-a', 'shadow');
    expect(await served.tryLogin('alice', 'wrong')).toBe(REFUSED);
    expect(await served.tryLogin('alice')).toMatch(WELCOME);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await served.tryLogin('alice')).toMatch(CANNOT);
    await served.logged(/ECONNREFUSED/);
    await saslauthd(host, '-a', 'shadow');
    expect(await served.tryLogin('alice')).toMatch(WELCOME);
  },
);

testAsRoot(['saslauthd'], 'its own PAM, by the service pop; each becomes its user', async () => {
  const host = await scratch();
  pamService(host, 'pop', 'auth required pam_unix.so', 'account required pam_unix.so');
  await saslauthd(host, '-a', 'pam');
  const served = await perUser(host, flagsFor(host));
  expect(await served.tryLogin('alice')).toMatch(WELCOME);
  expect(await served.tryLogin('alice', 'wrong')).toBe(REFUSED);
  expect(await served.tryLogin('bob')).toBe(REFUSED);
  expect(await served.tryLogin('carol')).toBe(REFUSED);
  await served.logged(/login-failed user=carol reason="saslauthd: /);
  host.setShadow(undefined, '20000:0:99999:7::1:');
  expect(await served.tryLogin('alice')).toBe(REFUSED);
});

testAsRoot(
  ['saslauthd', 'saslpasswd2'],
  'C44: a sasldb, passwords of any octets; what is too long is refused',
  async () => {
    const host = await scratch();
    const passwords = { alice: 'a\tb=\x01\xff', bob: 'x'.repeat(256) };
    // Its realm is what saslauthd takes where it is told none.
    for (const [user, password] of Object.entries(passwords)) {
      const [file, ...args] = host.inside(['saslpasswd2', '-p', '-c', '-u', hostname(), user]);
      const made = spawnSync(file!, args, { env: PATH, input: Buffer.from(password, 'latin1') });
      expect(`${made.stderr}${made.status}`).toBe('0');
    }
    await saslauthd(host, '-a', 'sasldb');
    const served = await perUser(host, flagsFor(host));
    expect(await served.tryLogin('alice', passwords.alice)).toMatch(WELCOME);
    expect(await served.tryLogin('alice', 'a')).toBe(REFUSED);
    expect(await served.tryLogin('bob', passwords.bob)).toMatch(WELCOME);
    expect(await served.tryLogin('bob', `${passwords.bob}x`)).toBe(REFUSED);
    await served.logged(/user=bob reason="password over 256 octets"/);
    expect(await served.tryLogin('alice', PASSWORD)).toBe(REFUSED);
  },
);

testAsRoot(
  ['saslauthd'],
  'stopped in the middle: unavailable when time is up, and nobody else waits',
  async () => {
    const host = await scratch();
    const { child } = await saslauthd(host, '-a', 'shadow');
    host.setUsers('bob:{PLAIN}builder\n');
    const flags = flagsFor(host).filter(flag => !flag.startsWith('--auth'));
    const served = await perUser(host, [...flags, '--auth=users,saslauthd', '--auth-timeout=5']);
    process.kill(child.pid!, 'SIGSTOP');
    const stuck = served.tryLogin('alice');
    expect(await served.tryLogin('bob', 'builder')).toMatch(WELCOME);
    expect(await stuck).toMatch(CANNOT);
    process.kill(child.pid!, 'SIGCONT');
    expect(await served.tryLogin('alice')).toMatch(WELCOME);
  },
);
