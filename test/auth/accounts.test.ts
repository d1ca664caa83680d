/**
 * The account commands among real programs: a terminal, curl, many of them at once, and Dovecot, which reads
 * what they write.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { WRITABLE_SCHEMES } from '../../lib/auth/password-field.js';
import { EX } from '../../lib/errors.js';
import { mustRun, run, testWith } from '../clients/programs.js';
import { messages, scratchDir } from '../support/mailbox.js';
import { IS_ROOT } from '../support/program.js';
import { servePlaces, serving } from '../support/serving.js';
import { user } from '../support/user-command.js';

const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;

test('twenty at once lose none', async () => {
  const users = join(scratchDir(), 'users');
  writeFileSync(users, '# staff\n\nbroken line\nbob:{PLAIN}b');
  const names = Array.from({ length: 20 }, (_, n) => `user${n}`);
  const flags = ['--users', users, '--scheme', 'plain'];
  const codes = await Promise.all(
    names.map(async name => (await user(['add', name, ...flags], `${name}\n`)).code),
  );
  expect(codes).toEqual(names.map(() => 0));
  const [first, ...rest] = readFileSync(users, 'latin1').split('bob:{PLAIN}b\n');
  expect(first).toBe('# staff\n\nbroken line\n');
  const lines = rest.join('').trimEnd().split('\n');
  expect(lines.sort()).toEqual(names.map(name => `${name}:{PLAIN}${name}`).sort());
});

testWith(
  ['curl'],
  'curl gets in after add, by the new password after passwd, and not after lock',
  async () => {
    const places = servePlaces({ alice: messages(1).join('') });
    const users = join(places.root, 'users');
    const { uid, gid } = statSync(places.mailbox('alice'));
    const { port } = await serving(places);
    const fetch = async (password: string) =>
      (await run('curl', ['-sS', '--max-time', '40', '-u', `alice:${password}`, `pop3://127.0.0.1:${port}/`]))
        .code;
    const change = async (action: string, password = '', ...flags: string[]) => {
      expect((await user([action, 'alice', '--users', users, ...flags], `${password}\n`)).code).toBe(0);
    };
    const DENIED = 67;
    await change('remove');
    expect(await fetch('first')).toBe(DENIED);
    await change('add', 'first', '--uid', `${uid}`, '--gid', `${gid}`);
    expect([await fetch('first'), await fetch('first')]).toEqual([0, 0]);
    await change('passwd', 'second');
    expect([await fetch('first'), await fetch('second')]).toEqual([DENIED, 0]);
    await change('lock');
    expect(await fetch('second')).toBe(DENIED);
    await change('unlock');
    expect(await fetch('second')).toBe(0);
  },
);

/** What a sysadmin types; ASCII, which no client prepares into something else. */
const SECRET = 'correct-horse';

testWith(
  ['mpop'],
  'one password, stored as add stores it, serves SCRAM-SHA-256, PLAIN and USER',
  async () => {
    const places = servePlaces({ alice: messages(1).join('') });
    const users = join(places.root, 'users');
    const { uid, gid } = statSync(places.mailbox('alice'));
    expect((await user(['remove', 'alice', '--users', users])).code).toBe(0);
    const owner = ['--uid', `${uid}`, '--gid', `${gid}`];
    expect((await user(['add', 'alice', '--users', users, ...owner], `${SECRET}\n`)).code).toBe(0);
    const { server, port } = await serving(places);
    for (const method of ['scram-sha-256', 'plain', 'user']) {
      const inbox = join(scratchDir(), 'inbox');
      const rc = `${inbox}.rc`;
      const lines = [
        ...[
          'account default',
          'host 127.0.0.1',
          `port ${port}`,
          'user alice',
          `password ${SECRET}`,
          'tls off',
        ],
        ...[`auth ${method}`, `uidls_file ${inbox}.uidls`, `delivery mbox ${inbox}`, 'keep on'],
      ];
      writeFileSync(rc, lines.map(line => `${line}\n`).join(''), { mode: 0o600 });
      await mustRun('mpop', ['-q', '-C', rc], { env: { HOME: places.root } });
      expect(readFileSync(inbox, 'latin1')).toContain('\nSubject: message 1\n');
    }
    const methods = () =>
      [...server.stderr().matchAll(/ login user=alice method=(\S+)/g)].map(match => match[1]);
    await server.until(() => methods().length >= 3);
    expect(methods()).toEqual(['SCRAM-SHA-256', 'PLAIN', 'USER']);
  },
);

for (const scheme of WRITABLE_SCHEMES.keys()) {
  testWith(['doveadm'], `Dovecot reads ${scheme} as we write it`, async () => {
    const users = join(scratchDir(), 'users');
    for (const [name, password] of [
      ['alice', 'correct horse'],
      ['bob', ' a:b '],
    ] as const) {
      expect((await user(['add', name, '--users', users, '--scheme', scheme], `${password}\n`)).code).toBe(0);
      const field = new RegExp(`^${name}:(.*)$`, 'm').exec(readFileSync(users, 'latin1'))![1]!;
      expect(await mustRun('doveadm', ['pw', '-t', field, '-p', password])).toContain('(verified)');
      expect((await run('doveadm', ['pw', '-t', field, '-p', 'another'])).code).not.toBe(0);
    }
  });
}

/** The command at a terminal of its own, and what it shows; each line is typed when it has asked for it. */
async function atTerminal(args: readonly string[], typed: readonly string[]) {
  const command = [process.execPath, PROGRAM, 'user', ...args].join(' ');
  const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: 'pipe' });
  const left = [...typed];
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', text => {
    shown += text;
    if (/: $/.test(shown) && left.length > 0) child.stdin.write(left.shift());
  });
  const [code] = await once(child, 'close');
  return { code, shown: shown.replaceAll('\r', '') };
}

testWith(['script'], 'at a terminal the password is asked for twice, and not shown', async () => {
  const users = join(scratchDir(), 'users');
  const flags = ['alice', '--users', users, '--scheme', 'plain'];
  const added = await atTerminal(['add', ...flags], ['sécret\n', 'sécret\n']);
  expect(added.shown).toMatch(/^New password for alice: \nThe same again: \n.* created.*\nalice added\n$/);
  expect(readFileSync(users, 'utf8')).toBe(`alice:{PLAIN.B64}${Buffer.from('sécret').toString('base64')}\n`);
  const differ = await atTerminal(['passwd', ...flags], ['one\n', 'two\n']);
  expect(differ).toMatchObject({ code: EX.USAGE, shown: expect.stringContaining('the passwords differ') });
  const interrupted = await atTerminal(['passwd', ...flags], ['one\n', 'tw\x03']);
  expect(interrupted).toMatchObject({
    code: 130,
    shown: expect.stringContaining('interrupted; nothing changed'),
  });
  expect(await atTerminal(['verify', 'alice', '--users', users], ['sécret\n'])).toEqual({
    code: 0,
    shown: 'Password of alice: \nalice: the password is right\n',
  });
});

if (!IS_ROOT) console.warn('\n*** SKIPPED: --create-mailbox for other users, which only root can try ***\n');

test.skipIf(!IS_ROOT)(
  '--create-mailbox: owner and mode as the spool has them; what is there stays',
  async () => {
    const root = scratchDir();
    const [users, spool] = [join(root, 'users'), join(root, 'spool')];
    const add = (name: string, ...flags: string[]) =>
      user(['add', name, '--users', users, '--spool', spool, '--create-mailbox', ...flags], 'x\n');
    const refused = await add('alice', '--uid', '1234');
    expect([refused.code, refused.stderr]).toEqual([EX.CANTCREAT, expect.stringContaining('ENOENT')]);
    mkdirSync(spool);
    chmodSync(spool, 0o755);
    expect((await add('alice', '--uid', '1234', '--gid', '4321')).code).toBe(0);
    expect(statSync(join(spool, 'alice'))).toMatchObject({ uid: 1234, gid: 4321, size: 0, mode: 0o100600 });
    chownSync(spool, 0, 8);
    chmodSync(spool, 0o2775);
    expect((await add('bob', '--uid', '1235', '--gid', '4321')).code).toBe(0);
    expect(statSync(join(spool, 'bob'))).toMatchObject({ uid: 1235, gid: 8, mode: 0o100660 });
    expect((await add('nobody')).code).toBe(0);
    expect(statSync(join(spool, 'nobody')).uid).toBe(statSync(join(spool, 'alice')).uid === 0 ? 0 : 65534);
    writeFileSync(join(spool, 'carol'), 'mail');
    expect((await add('carol', '--uid', '1236')).stdout).toContain('was there already, and is left as it is');
    expect(statSync(join(spool, 'carol'))).toMatchObject({ uid: 0, size: 4 });
    const unknown = await add('no-such-user-here');
    expect([unknown.code, unknown.stderr]).toEqual([EX.NOUSER, expect.stringContaining('--uid')]);
    expect((await user(['list', '--users', users])).stdout).not.toContain('no-such-user-here');
  },
);

test('killed at any moment, the file is the old one or the new one, and the next command works', async () => {
  const dir = scratchDir();
  const users = join(dir, 'users');
  const others = Array.from({ length: 2000 }, (_, n) => `user${n}:{PLAIN}x\n`).join('');
  writeFileSync(users, `# staff\nalice:{PLAIN}old\n${others}`);
  const file = (password: string) => `# staff\nalice:{PLAIN}${password}\n${others}`;
  let old = 'old';
  const ends = { before: 0, after: 0 };
  const began = performance.now();
  expect((await user(['passwd', 'alice', '--users', users, '--scheme', 'plain'], 'old')).code).toBe(0);
  const whole = performance.now() - began;
  for (let round = 0; round < 20; round += 1) {
    const args = [PROGRAM, 'user', 'passwd', 'alice', '--users', users, '--scheme', 'plain'];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'ignore', 'ignore'] });
    const closed = once(child, 'close');
    child.stdin.on('error', () => {});
    child.stdin.end(`new${round}`);
    // The first half is the start of Node.js; then every step of the edit.
    const killer = setTimeout(() => child.kill('SIGKILL'), whole * (0.5 + round * 0.04));
    await closed;
    clearTimeout(killer);
    const now = readFileSync(users, 'latin1');
    expect([file(old), file(`new${round}`)]).toContain(now);
    ends[now === file(old) ? 'before' : 'after'] += 1;
    if (now !== file(old)) old = `new${round}`;
  }
  process.stderr.write(`killed: ${ends.before} times the old file, ${ends.after} times the new one\n`);
  expect((await user(['remove', 'alice', '--users', users])).code).toBe(0);
  expect(readFileSync(users, 'latin1')).toBe(`# staff\n${others}`);
  expect(readdirSync(dir)).toEqual(['users']);
});
