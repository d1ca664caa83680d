/**
 * A process that root starts for one client, seen from outside: what it may do before and after the login, and
 * what it did as root.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Pop3Client } from '../support/pop3-client.js';
import { testAsRoot } from './as-root.js';
import { nowait, SECRET } from './login.js';
import { ALICE, BOB, MAIL, MAIL_OF_ALICE, ScratchHost, SERVICE } from './scratch-host.js';
import { readTrace } from './trace.js';

const FIELDS = ['Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'TracerPid'];

/** What /proc has of every thread: one entry, when all are alike. */
function status(pid: number): Record<string, string>[] {
  const threads = readdirSync(`/proc/${pid}/task`).map(thread => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
    const values = FIELDS.map(field => [
      field,
      new RegExp(`^${field}:(.*)$`, 'm').exec(text)![1]!.trim().replace(/\s+/g, ' '),
    ]);
    return JSON.stringify(Object.fromEntries(values));
  });
  return [...new Set(threads)].map(text => JSON.parse(text));
}

/** A path without what differs from run to run. */
function generic(host: ScratchHost, path: string): string {
  return path
    .replace(host.root, '')
    .replace(/[0-9a-f]{32}/, 'HASH')
    .replace(/(?<=model\.)\d+/, 'N')
    .replace(/\.alice\.lock\..*/, '.alice.lock.TEMPORARY');
}

const NONE = '0'.repeat(16);
const four = (id: number) => `${id} ${id} ${id} ${id}`;

async function greeted(host: ScratchHost) {
  host.fill('alice', MAIL_OF_ALICE.join(''), { ...ALICE, gid: MAIL });
  const door = await nowait(host);
  const client = await Pop3Client.greeted(door.port);
  return { client, door, pid: door.children[0]!.pid! };
}

testAsRoot([], 'ids, groups and capabilities before and after the login', async () => {
  const host = await ScratchHost.create();
  const { client, pid } = await greeted(host);
  // The greeting is said before the process has begun to listen.
  await client.ok('USER alice');
  const [before, ...unlike] = status(pid);
  expect(unlike).toEqual([]);
  expect(before).toMatchObject({
    // Parsing acts as the service account, and could go back.
    Uid: `0 ${SERVICE.uid} 0 ${SERVICE.uid}`,
    Gid: `0 ${SERVICE.gid} 0 ${SERVICE.gid}`,
    Groups: '',
    CapEff: NONE,
  });

  await client.logIn('alice', SECRET);
  const after = {
    Uid: four(ALICE.uid),
    Gid: `${ALICE.gid} ${ALICE.gid} ${MAIL} ${ALICE.gid}`,
    Groups: '',
    CapInh: NONE,
    CapPrm: NONE,
    CapEff: NONE,
    CapAmb: NONE,
    TracerPid: '0',
  };
  expect(status(pid)).toEqual([after]);
  await client.ok('DELE 1');
  expect(status(pid)).toEqual([after]);
  const open = readdirSync(`/proc/${pid}/fd`).map(fd => [fd, readlinkSync(`/proc/${pid}/fd/${fd}`)] as const);
  expect(open.filter(([fd]) => fd === '1' || fd === '2').map(([, path]) => path)).toEqual([
    '/dev/null',
    '/dev/null',
  ]);
  // No descriptor that another session or a password check trusts.
  const files = open
    .map(([, path]) => path)
    .filter(path => path.startsWith(host.root) || path.startsWith('/etc'));
  expect(files.map(path => generic(host, path)).sort()).toEqual([
    '/spool/.alice.lock.TEMPORARY',
    '/spool/alice',
    '/state/run/HASH.session',
  ]);
  await client.ok('QUIT');
});

testAsRoot([], 'without a service account it parses as root, and drops all the same', async () => {
  const host = await ScratchHost.create();
  const passwd = readFileSync(host.etc('passwd'), 'latin1').replace(/^mbox-pop3d:.*\n/m, '');
  writeFileSync(host.etc('passwd'), passwd);
  const { client, pid } = await greeted(host);
  expect(status(pid)).toMatchObject([{ Uid: four(0) }]);
  await client.logIn('alice', SECRET);
  expect(status(pid)).toMatchObject([{ Uid: four(ALICE.uid), Groups: '', CapPrm: NONE, CapEff: NONE }]);
  await client.ok('QUIT');
});

testAsRoot(['strace', 'setpriv'], 'C45: its user can neither trace it nor read its memory', async () => {
  const host = await ScratchHost.create();
  const { client, pid } = await greeted(host);
  await client.logIn('alice', SECRET);
  expect(statSync(`/proc/${pid}/environ`).uid).toBe(0);
  const asAlice = (...command: string[]) =>
    spawnSync('setpriv', [`--reuid=${ALICE.uid}`, `--regid=${ALICE.gid}`, '--clear-groups', ...command], {
      encoding: 'utf8',
      timeout: 60_000,
    });
  const traced = asAlice('strace', '-o', '/dev/null', '-p', String(pid));
  expect(traced.stderr).toMatch(/Operation not permitted/);
  for (const file of ['mem', 'environ', 'maps', 'auxv']) {
    expect(asAlice('cat', `/proc/${pid}/${file}`)).toMatchObject({ status: 1, stdout: '' });
  }
  expect(asAlice('ls', `/proc/${pid}/fd`)).toMatchObject({ status: 2, stdout: '' });
  expect(status(pid)).toMatchObject([{ TracerPid: '0' }]);
  await client.ok('QUIT');
});

testAsRoot([], 'no thread reads files of root after the drop', async () => {
  const host = await ScratchHost.create();
  const results = join(host.root, 'results');
  mkdirSync(results);
  chmodSync(results, 0o1777);
  const probe = join(host.root, 'probe.mjs');
  // More reads than the pool has threads, in one go, as soon as the process is the user.
  writeFileSync(
    probe,
    `import { promises, writeFileSync, renameSync } from 'node:fs';
const timer = setInterval(async () => {
  if (process.getuid() === 0) return;
  clearInterval(timer);
  const reads = Array.from({ length: 16 }, () => promises.readFile('/etc/shadow').then(() => 'read', e => e.code));
  writeFileSync('${results}/draft', JSON.stringify(await Promise.all(reads)));
  renameSync('${results}/draft', '${results}/done');
}, 1);
timer.unref();`,
  );
  host.fill('alice', MAIL_OF_ALICE.join(''), ALICE);
  const door = await nowait(host, ['--auth=users,system'], { nodeFlags: ['--import', probe] });
  const client = await Pop3Client.loggedIn(door.port, 'alice', SECRET);
  for (const n of [1, 2, 3, 4, 5]) await client.multiline(`RETR ${n}`);
  await expect.poll(() => readdirSync(results), { timeout: 20_000 }).toEqual(['done']);
  expect(JSON.parse(readFileSync(join(results, 'done'), 'utf8'))).toEqual(Array(16).fill('EACCES'));
  await client.ok('QUIT');
});

testAsRoot(['strace'], 'C25: what is written before the drop, and after', async () => {
  const host = await ScratchHost.create();
  host.fill('alice', MAIL_OF_ALICE.join(''), { ...ALICE, gid: MAIL });
  const trace = join(host.root, 'trace');
  const calls = 'trace=%file,%creds,fchmod,fchown,umask';
  const door = await nowait(host, ['--auth=users,system'], {
    wrapper: ['strace', '-f', '-o', trace, '-e', calls],
  });
  const client = await Pop3Client.loggedIn(door.port, 'alice', SECRET);
  await client.ok('DELE 2');
  await client.ok('QUIT');
  expect(await client.rest()).toBe('');
  expect(await door.exits()).toEqual([0]);

  const { before, after } = readTrace(readFileSync(trace, 'latin1'), ALICE.uid);
  const { state, spool } = host;
  const known = (path: string) => generic(host, path);
  const touched = (calls: typeof before) =>
    [...new Set(calls.filter(call => call.changes && call.path !== '').map(call => known(call.path)))].sort();
  expect(touched(before)).toEqual([
    '/dev/null',
    '/state',
    '/state/alice',
    '/state/model',
    '/state/model.N',
    '/state/run',
    '/state/run/HASH.session',
  ]);
  // Of the spool, root looks at nothing but where it is; of what its user owns, at nothing that is inside.
  const inside = before.filter(
    ({ path }) => path.startsWith(`${spool}/`) || path.startsWith(`${state}/alice/`),
  );
  expect(inside.map(({ call, path }) => `${call} ${known(path)}`)).toEqual(['access /state/alice/journal']);
  expect(before.find(({ call }) => call === 'umask')!.text).toMatch(/^umask\(077\)/);
  expect(before.findIndex(({ call }) => call === 'umask')).toBeLessThan(
    before.findIndex(call => call.changes && call.path.startsWith(state)),
  );

  expect(touched(after)).toEqual([
    '/spool/.alice.lock.TEMPORARY',
    '/spool/alice',
    '/spool/alice.lock',
    '/state/alice/journal',
    '/state/alice/journal.new',
    '/state/alice/journal.plan',
  ]);
  // C24: group mail for the dotlock, and given back.
  const groups = after
    .filter(({ call }) => call === 'setfsgid')
    .map(({ text }) => /\((-?\d+)/.exec(text)![1]);
  expect(groups.filter(gid => gid === String(MAIL)).length).toBeGreaterThan(0);
  expect(groups.filter(gid => gid !== '-1').at(-1)).toBe(String(ALICE.gid));
});

testAsRoot(
  [],
  'C24: in a 2775 spool the dotlock is made by group mail, and nothing else is read by it',
  async () => {
    const host = await ScratchHost.create();
    host.fill('bob', MAIL_OF_ALICE.join(''), { ...BOB, gid: MAIL }, 0o660);
    // A mailbox of alice's own that is somebody else's by another name is refused; nor could she read it.
    spawnSync('ln', ['-s', host.mailbox('bob'), host.mailbox('alice')]);
    const door = await nowait(host);
    const client = await Pop3Client.greeted(door.port);
    await client.ok('USER alice');
    expect(await client.ask(`PASS ${SECRET}`)).toMatch(/^-ERR \[SYS\/PERM\]/);
    await client.rest();
    expect(host.spoolNames()).toEqual(['alice', 'bob']);
  },
);
