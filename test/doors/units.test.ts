/**
 * `etc/` as the programs that it is for read it, and as it runs under them: the README's set-up of systemd, the
 * other units, the lines for inetd and xinetd.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { bootMachine, ETC, isInstalled, type Results, whyNoMachine } from './machine.js';

const UNITS = join(ETC, 'systemd');
const NO_SYSTEMD =
  spawnSync('systemd-analyze', ['--version']).error !== undefined && process.env.CI !== 'true';
if (NO_SYSTEMD) process.stderr.write('SKIPPED: checks of the units: systemd-analyze is not installed\n');

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-units-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

describe.skipIf(NO_SYSTEMD)('read', () => {
  test('systemd-analyze verify has nothing to say', () => {
    const dir = scratch();
    for (const name of readdirSync(UNITS)) {
      // The one thing that differs from host to host.
      const text = readFileSync(join(UNITS, name), 'utf8').replaceAll('/usr/bin/node', process.execPath);
      writeFileSync(join(dir, name), text);
    }
    const paths = readdirSync(dir).map(name => join(dir, name));
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...paths], {
      encoding: 'utf8',
    });
    // Other units of the host have faults of their own.
    const ours = (stdout + stderr).split('\n').filter(line => line.includes('mbox-pop3d'));
    expect({ status, ours }).toEqual({ status: 0, ours: [] });
    expect(paths).toHaveLength(9);
  });

  test.each([
    ['mbox-pop3d.service', 1.5],
    ['mbox-pop3d-recover.service', 1.5],
    // It must be able to become anybody.
    ['mbox-pop3d-per-user@.service', 2],
    ['mbox-pop3d-per-user-tls@.service', 2],
    ['mbox-pop3d-per-user-recover.service', 2],
  ])('exposure of %s by systemd-analyze security is at most %d', (name, most) => {
    const output = execFileSync('systemd-analyze', ['security', '--offline=yes', join(UNITS, name)], {
      encoding: 'utf8',
    });
    const exposure = /Overall exposure level for \S+: ([0-9.]+) /.exec(output)?.[1];
    expect(Number(exposure)).toBeLessThanOrEqual(most);
  });

  test('sysusers.d makes an account without a shell, in group mail', () => {
    const root = scratch();
    const install = join(root, 'usr/lib/sysusers.d');
    mkdirSync(join(root, 'etc'));
    cpSync(join(ETC, 'sysusers.d'), install, { recursive: true });
    const output = spawnSync('systemd-sysusers', [`--root=${root}`, '--dry-run'], { encoding: 'utf8' });
    expect(output.stderr + output.stdout).toMatch(/Would create group mail|Creating group 'mail'/);
    expect(output.stderr + output.stdout).toMatch(/mbox-pop3d/);
    expect(output.status).toBe(0);
  });
});

/** Fields of "before: Uid: 0 ...; Gid: ..." lines of session.mjs. */
function serverIn(session: string, when: 'before' | 'after'): Record<string, string> {
  const line = session.split('\n').find(text => text.startsWith(`${when}: `)) ?? '';
  const fields = line.slice(when.length + 2).split('; ');
  return Object.fromEntries(
    fields.map(field => /^([^\s:]+):? ?(.*)$/.exec(field)!).map(([, name, value]) => [name, value]),
  );
}

const reason = whyNoMachine();
const NO_MACHINE = reason !== undefined;
if (NO_MACHINE) process.stderr.write(`SKIPPED: the units under a real systemd: ${reason}\n`);

describe.skipIf(NO_MACHINE)('run by a real systemd', () => {
  let results: Results;
  beforeAll(async () => {
    results = await bootMachine();
  });

  const SECOND = 'From bob@example.net Mon Jan  5 10:01:00 2026\nSubject: two\n\nHello.\n\n';
  const CONVERSATION = [
    'S: +OK send PASS',
    'S: +OK maildrop has 2 messages (48 octets)',
    'S: +OK 24 octets',
    'S: +OK message 1 deleted',
    'S: +OK mbox-pop3d signing off (1 message left)',
  ];
  const NONE = '0000000000000000';
  const CONFINED = { NoNewPrivs: '1', Seccomp: '2', '/': 'ro', '/home': 'ro', '/var/mail': 'rw' };
  const said = (name: string) =>
    results(`${name}.session`)
      .split('\n')
      .filter(line => line.startsWith('S: '));
  /** The journal, with priorities. */
  const logged = (name: string) => entries(name).map(({ PRIORITY, MESSAGE }) => `<${PRIORITY}>${MESSAGE}`);
  const entries = (name: string) =>
    results(name)
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as { PRIORITY: string; MESSAGE: string; SYSLOG_FACILITY?: string });

  test("the README's set-up works line by line, and makes the account and the users file's directory", () => {
    expect(results('set-up')).toMatch(/^set up\n$/m);
    expect(results('account')).toMatch(/^uid=\d+\(mbox-pop3d\) gid=\d+\(mail\) groups=\d+\(mail\)$/m);
    expect(results('directory')).toBe('root:mail 750\n');
  });

  test('nothing has failed', () => {
    expect(results('failed')).toBe('');
    for (const name of ['shared', 'watchdog', 'closed', 'override', 'per-user', 'shared-tls']) {
      expect(results(`${name}.end`)).not.toMatch(/^(Result=(?!success)|ExecMainStatus=[^0])/m);
    }
  });

  test('mbox-pop3d.service: yescrypt, locks, RETR, DELE, QUIT, confined and without a capability', () => {
    expect(said('shared').slice(1)).toEqual(CONVERSATION);
    expect(results('shared.mailbox')).toBe(SECOND);
    expect(results('shared.spool')).toMatch(/^-rw-rw---- 1 4001 \d+ \d+ .* alice$/m);
    const server = serverIn(results('shared.session'), 'after');
    expect(server).toMatchObject({ ...CONFINED, CapPrm: NONE, CapEff: NONE, CapBnd: NONE, CapAmb: NONE });
    expect(server.Uid).not.toMatch(/\b(0|4001)\b/);
    expect(new Set(server.Uid!.split(' ')).size).toBe(1);
  });

  test('mbox-pop3d.service: ready when it says so, status, journal priorities', () => {
    const state = results('shared.state');
    expect(state).toContain('ActiveState=active\n');
    expect(state).toContain('StatusText=serving /var/spool/mail\n');
    expect(state).toContain('NRestarts=0\n');
    const lines = logged('shared.log');
    expect(lines).toContainEqual('<6>- ready by=systemd sockets=1');
    expect(lines).toContainEqual(expect.stringMatching(/^<6>127\.0\.0\.1 login user=alice /));
    expect(lines).toContainEqual(expect.stringMatching(/^<6>127\.0\.0\.1 logout .* deleted=1 left=1 /));
  });

  test('mbox-pop3d.service: one that hangs is killed by the watchdog, and started again', () => {
    expect(said('watchdog-before').slice(1)).toEqual(CONVERSATION);
    expect(results('watchdog.alive')).toMatch(/^WatchdogUSec=4s$/m);
    expect(results('watchdog.alive')).toMatch(/^ActiveState=active$/m);
    expect(results('watchdog.journal')).toMatch(/Failed with result 'watchdog'/);
    expect(results('watchdog.hung')).toMatch(/^NRestarts=1$/m);
    expect(results('watchdog.hung')).toMatch(/^ActiveState=active$/m);
    expect(said('watchdog').slice(1)).toEqual(CONVERSATION);
    expect(results('watchdog.mailbox')).toBe(SECOND);
  });

  test('mbox-pop3d.service: a mailbox of mode 0600 is refused, and the log says what to do', () => {
    expect(said('closed').slice(2, 3)).toEqual(['S: -ERR [SYS/PERM] mailbox file cannot be opened']);
    expect(results('closed.mailbox')).toContain('Subject: one');
    const finding = logged('shared.log').find(line => line.startsWith('<4>- self-check '));
    expect(finding).toContain('/var/spool/mail/alice');
    expect(finding).toContain('0660');
    expect(finding).toMatch(/ or="[^"]*CAP_DAC_OVERRIDE[^"]*mbox-pop3d-per-user\.socket/);
  });

  test('with the lines about CAP_DAC_OVERRIDE, it is served, and stays 0600 and its owner', () => {
    expect(said('override').slice(1)).toEqual(CONVERSATION);
    expect(results('override.mailbox')).toBe(SECOND);
    expect(results('override.spool')).toMatch(/^-rw------- 1 4001 4001 \d+ .* alice$/m);
    const only = '0000000000000002';
    const server = serverIn(results('override.session'), 'after');
    expect(server).toMatchObject({ ...CONFINED, CapPrm: only, CapEff: only, CapBnd: only });
  });

  test('mbox-pop3d-per-user@.service: system account, mailbox of mode 0600', () => {
    expect(said('per-user').slice(1)).toEqual(CONVERSATION);
    expect(results('per-user.mailbox')).toBe(SECOND);
    expect(results('per-user.spool')).toMatch(/^-rw------- 1 4001 4001 \d+ .* alice$/m);
    const before = serverIn(results('per-user.session'), 'before');
    expect(before).toMatchObject({ ...CONFINED, CapEff: NONE, CapPrm: '00000000000000c5' });
    expect(before.Uid).toMatch(/^0 ([1-9]\d*) 0 \1$/);
    const after = serverIn(results('per-user.session'), 'after');
    expect(after).toMatchObject({ ...CONFINED, Uid: '4001 4001 4001 4001', Groups: '' });
    expect(after).toMatchObject({ CapPrm: NONE, CapEff: NONE, CapInh: NONE, CapAmb: NONE });
    expect(after.Gid).toMatch(/^4001 4001 \d+ 4001$/);
    expect(logged('per-user.log')).toContainEqual(
      expect.stringMatching(/^<6>127\.0\.0\.1 login user=alice /),
    );
  });

  test('mbox-pop3d-per-user@.service: by PAM, with the file of etc/', () => {
    expect(said('per-user-pam').slice(1)).toEqual(CONVERSATION);
    expect(results('per-user-pam.mailbox')).toBe(SECOND);
    expect(said('per-user-pam-wrong')).toContainEqual('S: -ERR [AUTH] Authentication failed');
  });

  test.each(['per-user', 'shared'])('%s, with TLS: port 995 and STLS; the key is one of root', name => {
    expect(said(`${name}-tls`).slice(1)).toEqual(CONVERSATION);
    expect(said(`${name}-stls`).slice(1)).toEqual(['S: +OK begin TLS negotiation', ...CONVERSATION]);
    const user = name === 'shared' ? /^([1-9]\d*)( \1){3}$/ : /^4001 4001 4001 4001$/;
    for (const how of ['tls', 'stls']) {
      expect(results(`${name}-${how}.session`)).toMatch(/^TLS: ec$/m);
      expect(results(`${name}-${how}.mailbox`)).toBe(SECOND);
      const server = serverIn(results(`${name}-${how}.session`), 'after');
      expect(server).toMatchObject({ ...CONFINED, CapPrm: NONE, CapEff: NONE });
      expect(server.Uid).toMatch(user);
    }
    const login = expect.stringMatching(/^<6>127\.0\.0\.1 login user=alice .* tls=TLSv1\.3$/);
    expect(logged(`${name}-tls.log`)).toContainEqual(login);
  });

  test('a server under systemd reads its certificates again when it is told to', () => {
    expect(logged('shared-tls.log')).toContainEqual('<6>- certificates-unchanged');
  });

  test('both recover units run, and find nothing to do', () => {
    expect(logged('override.recover')).toContainEqual('<6>no interrupted update');
    expect(logged('per-user.recover')).toContainEqual('<6>no interrupted update');
  });

  const DOORS = [
    ['nowait', 'inetd', '-rw------- 1 4001 4001', /^4001 4001 4001 4001$/],
    ['wait', 'inetd', '-rw-rw---- 1 4001', /^([1-9]\d*)(?<!\b4001)( \1){3}$/],
    ['xinetd', 'xinetd', '-rw------- 1 4001 4001', /^4001 4001 4001 4001$/],
  ] as const;
  for (const [name, program, mode, uids] of DOORS) {
    test.skipIf(!isInstalled(program) && process.env.CI !== 'true')(`the line for ${name} of etc/`, () => {
      expect(said(name).slice(1)).toEqual(CONVERSATION);
      expect(results(`${name}.mailbox`)).toBe(SECOND);
      expect(results(`${name}.spool`)).toMatch(new RegExp(`^${mode} .* alice$`, 'm'));
      const server = serverIn(results(`${name}.session`), 'after');
      expect(server.Uid).toMatch(uids);
      expect(server).toMatchObject({ CapPrm: NONE, CapEff: NONE, CapAmb: NONE });
      const mail = expect.objectContaining({ SYSLOG_FACILITY: '2', PRIORITY: '6' });
      expect(entries('inetd.log')).toContainEqual(mail);
    });
  }

  test('each model has a state directory, which nobody else can read', () => {
    const state = results('state');
    expect(state).toMatch(/^\/var\/lib\/mbox-pop3d\/alice:\ntotal \d+\n-rw------- 1 (?!4001)\d+ /m);
    expect(state).toMatch(/^\/var\/lib\/mbox-pop3d-per-user\/alice:\ntotal \d+\n-rw------- 1 4001 4001 /m);
  });
});
