// Programs with the checkpassword interface, each a small script: what they get, and what their end means.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { checkpasswordProgram } from '../../lib/auth/checkpassword.js';
import { Unavailable } from '../../lib/errors.js';
import { effectiveUid } from '../../lib/services.js';

const PEER = { address: '2001:db8::7', port: 40_000 };

/** A script of sh, in a directory of its own. */
function script(body: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-checkpassword-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'program');
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

function ask(command: string[], password = 'secret', signal = new AbortController().signal) {
  const question = { user: 'alice', password: Buffer.from(password, 'latin1'), peer: PEER };
  return checkpasswordProgram(command, effectiveUid)(question, signal);
}

async function failure(answer: Promise<unknown>): Promise<string> {
  const error = await answer.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Unavailable);
  expect(error).toMatchObject({ code: 'SYS/TEMP' });
  return ((error as Unavailable).cause as Error).message;
}

test('right: the program runs what it was told to, and nothing is learnt of ids that are ours', async () => {
  const program = script(
    'test "$1" = first && test "$2" = second || exit 2; shift 2; cat <&3 >/dev/null; exec 3<&-; exec "$@"',
  );
  expect(await ask([program, 'first', 'second'])).toEqual({ ok: true });
});

test.each(['secret', 'a\tb\nc\r=\x01\xff', ' ', "'; exit 0", 'x'.repeat(490)])(
  'C44: descriptor 3 has exactly name, %j and a time',
  async password => {
    const program = script('cat <&3 >"$0.got"; exit 1');
    expect(await ask([program], password)).toEqual({ ok: false, reason: 'checkpassword: wrong' });
    const [user, got, time, ...rest] = readFileSync(`${program}.got`, 'latin1').split('\0');
    expect([user, got, rest]).toEqual(['alice', password, ['']]);
    expect(time).toMatch(/^Y[0-9]{10}$/);
  },
);

test('C44: more than the interface allows is refused, and nothing is run', async () => {
  const program = script('touch "$0.ran"; exit 0');
  expect(await ask([program], 'x'.repeat(500))).toMatchObject({ ok: false });
  expect(existsSync(`${program}.ran`)).toBe(false);
});

test('its environment and its descriptors', async () => {
  const program = script('env | sort >"$0.env"; ls -l /proc/self/fd >"$0.fd"; exit 1');
  process.env.MBOX_POP3D_TEST_SECRET = 'x';
  onTestFinished(() => {
    delete process.env.MBOX_POP3D_TEST_SECRET;
  });
  await ask([program]);
  const names = readFileSync(`${program}.env`, 'latin1').trim().split('\n');
  const own = names.filter(line => !/^(PATH|PWD|OLDPWD|SHLVL|_)=/.test(line));
  expect(own).toEqual(['PROTO=TCP6', 'SERVICE=pop3', 'TCPREMOTEIP=2001:db8::7', 'TCPREMOTEPORT=40000']);
  const open = [...readFileSync(`${program}.fd`, 'latin1').matchAll(/ (\d+) -> (\S+)/g)];
  // What whoever started the tests left open, far above; and the directory that ls reads.
  const ours = open.filter(([, fd, path]) => Number(fd) < 16 && !path!.startsWith('/proc/'));
  expect(ours.map(([, fd, path]) => `${fd} ${path!.replace(/:.*/, '')}`)).toEqual([
    '0 /dev/null',
    `1 ${program}.fd`,
    '2 socket',
    '3 socket',
  ]);
});

test.each([
  ['exit 2', 'exit code 2'],
  ['exit 111', 'exit code 111'],
  ['echo "no database" >&2; exit 111', 'exit code 111: no database'],
  ['kill -KILL $$', 'SIGKILL'],
  ['kill -SEGV $$', 'SIGSEGV'],
  // Nobody comes in by /bin/true.
  ['exit 0', 'it ran nothing'],
  ['echo 0 0; exit 0', 'it ran nothing'],
  ['"$@"; exit 3', 'exit code 3'],
  ['head -c 10000000 /dev/zero; exit 0', 'it ran nothing'],
])('no answer: %s', async (body, why) => {
  const program = script(body);
  expect(await failure(ask([program]))).toBe(`${program}: ${why}`);
});

test('a program that is not there, or none', async () => {
  expect(await failure(ask(['/nonexistent/checkpassword']))).toMatch(/ENOENT/);
  const program = script('exit 0');
  chmodSync(program, 0o644);
  expect(await failure(ask([program]))).toMatch(/EACCES/);
});

test('one that hangs is killed, with what it has started', async () => {
  const program = script('sleep 1000 & echo $! >"$0.child"; mv "$0.child" "$0.started"; exec sleep 1000');
  const stop = new AbortController();
  const answer = failure(ask([program], 'secret', stop.signal));
  await expect.poll(() => existsSync(`${program}.started`), { timeout: 20_000 }).toBe(true);
  const child = Number(readFileSync(`${program}.started`, 'latin1'));
  stop.abort();
  expect(await answer).toBe(`${program}: SIGKILL`);
  const state = () => {
    if (!existsSync(`/proc/${child}/stat`)) return 'gone';
    return readFileSync(`/proc/${child}/stat`, 'latin1').split(' ')[2];
  };
  await expect.poll(state, { timeout: 20_000 }).toMatch(/gone|Z/);
});

test('one that leaves somebody behind with its output: given up when time is up', async () => {
  const program = script(
    // Once the program itself is gone, and waited for.
    'setsid sh -c "exec 3<&-; while kill -0 $$; do sleep 0.05; done; touch $0.started; sleep 30" & exit 1',
  );
  const stop = new AbortController();
  const answer = ask([program], 'secret', stop.signal);
  await expect.poll(() => existsSync(`${program}.started`), { timeout: 20_000 }).toBe(true);
  stop.abort();
  // Its own answer was no.
  expect(await answer).toEqual({ ok: false, reason: 'checkpassword: wrong' });
});
