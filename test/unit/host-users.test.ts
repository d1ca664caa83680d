// Users, groups, processes and the choice of host; what needs root runs in a child and is skipped without.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { chooseHost, loadHost } from '../../lib/host/load.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { runPython } from '../support/run-python.js';

describe.each([
  ['native', () => linuxHost],
  ['portable', createPortableHost],
] as const)('%s host', (kind, make) => {
  const host = make();

  test('says which it is', () => expect(host.kind).toBe(kind));

  test('finds users and groups as Python does', async () => {
    const { stdout } = await runPython(
      `
import json, pwd, grp
names = ['root', 'nobody', 'daemon', 'mail']
print(json.dumps([[(n, pwd.getpwnam(n).pw_uid, pwd.getpwnam(n).pw_gid) for n in names],
                  [(g.gr_name, g.gr_gid) for g in grp.getgrall()]]))`,
    );
    const [users, groups] = JSON.parse(stdout) as [[string, number, number][], [string, number][]];
    for (const [name, uid, gid] of users) expect(host.findUser(name)).toEqual({ name, uid, gid });
    for (const [name, gid] of groups) expect(host.findGroup(name)).toBe(gid);
  });

  test.each(['', 'no-such-user', 'root:x', 'root\0', 'nobody\n', '+', '../etc', 'x'.repeat(10_000)])(
    'C46: no user or group %j',
    name => {
      expect(host.findUser(name)).toBeUndefined();
      expect(host.findGroup(name)).toBeUndefined();
    },
  );

  test('knows which processes exist', async () => {
    expect(host.processExists(process.pid)).toBe(true);
    expect(host.processExists(1)).toBe(true);
    const child = spawn(process.execPath, ['-e', '']);
    const pid = child.pid!;
    await once(child, 'exit');
    expect(host.processExists(pid)).toBe(false);
  });

  test.each([0, -1, 1.5, Number.NaN, 2 ** 31, 2 ** 53])('%d is no process id', pid => {
    expect(() => host.processExists(pid)).toThrow(RangeError);
  });

  test('warmUp loads what there is to load', async () => {
    await expect(host.warmUp()).resolves.toBeUndefined();
  });

  test.each([
    [0, 65534],
    [65534, 0],
    [-1, 65534],
    [4294967295, 65534],
    [1.5, 65534],
  ])('will not become uid %d gid %d', (uid, gid) => {
    expect(() => host.becomeUser({ name: 'nobody', uid, gid }, gid)).toThrow(/will not become root/);
  });
});

const isRoot = process.geteuid?.() === 0;
if (!isRoot) console.warn('host-users.test.ts: becomeUser is not tested: it needs root');

/** Becomes nobody in a child, then prints every id of every thread as the kernel has it, and tries to go back. */
const BECOME = `
import { readdirSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
const { host } = await (await import(process.argv[1])).loadHost();
await Promise.all(Array.from({ length: 8 }, () => stat('/')));
host.becomeUser(host.findUser('nobody'), 65533);
const ids = new Set();
for (const thread of readdirSync('/proc/self/task')) {
  const status = readFileSync('/proc/self/task/' + thread + '/status', 'latin1');
  ids.add(status.match(/^(Uid|Gid|Groups):.*$/gm).join(' ').replace(/\\s+/g, ' ').trim());
}
let back = [];
for (const call of ['setuid', 'seteuid', 'setgid', 'setegid']) {
  try { process[call](0); back.push(call); } catch {}
}
console.log(JSON.stringify({ ids: [...ids], back, threads: readdirSync('/proc/self/task').length > 4 }));
`;

test.skipIf(!isRoot)('becomeUser gives up root in every thread, for good', () => {
  // The built files: a child has no compiler (`npm test` builds first).
  const built = new URL('../../dist/lib/host/load.js', import.meta.url).href;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', BECOME, built], {
    encoding: 'utf8',
  });
  expect(child.stderr).toBe('');
  expect(JSON.parse(child.stdout)).toEqual({
    ids: ['Uid: 65534 65534 65534 65534 Gid: 65533 65533 65533 65533 Groups: 65533'],
    back: [],
    threads: true,
  });
});

test.skipIf(isRoot)('becomeUser without root is an error', () => {
  expect(() => linuxHost.becomeUser({ name: 'nobody', uid: 65534, gid: 65534 }, 65534)).toThrow(/EPERM/);
});

test('loadHost gives the native host here, and the same one each time', async () => {
  const loaded = await loadHost();
  expect(loaded).toEqual({ host: linuxHost });
  expect(await loadHost()).toBe(loaded);
});

test('without the FFI the portable host is given, with the reason in one line', async () => {
  const { host, degraded } = await chooseHost(() => Promise.reject(new Error('Cannot find module\nat ...')));
  expect(host.kind).toBe('portable');
  expect(degraded).toBe('Cannot find module');
});
