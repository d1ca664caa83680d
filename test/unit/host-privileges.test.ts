// Becoming one mail user, for a while or for good, and borrowing a group: in children, as the kernel tells it.
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { runHost } from '../support/host-child.js';

const isRoot = process.geteuid?.() === 0;
if (!isRoot) console.warn('host-privileges.test.ts: only refusals are tested: the rest needs root');
const hasSetpriv = spawnSync('setpriv', ['--version']).status === 0;
if (!hasSetpriv) console.warn('host-privileges.test.ts: kept capabilities are not tested: no setpriv(1)');

const UID = 54_321;
const GID = 54_322;
const MAIL = 54_323;
const BECOME = `host.becomeMailUser({ name: 'carol', uid: ${UID}, gid: ${GID} }, ${MAIL});`;
const DROPPED = `Uid: ${UID} ${UID} ${UID} ${UID} Gid: ${GID} ${GID} ${MAIL} ${GID} Groups:`;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'host-privileges-'));
  chmodSync(dir, 0o755);
});
afterEach(() => rmSync(dir, { recursive: true }));

const clean = (printed: unknown[]) => ({ printed, stderr: '', status: 0 });

describe.each([
  ['native', linuxHost],
  ['portable', createPortableHost()],
] as const)('%s host', (kind, host) => {
  test.each([
    [0, GID, MAIL],
    [UID, 0, MAIL],
    [UID, GID, 0],
    [-1, GID, MAIL],
    [UID, 4294967295, MAIL],
    [UID, GID, 1.5],
    [Number.NaN, GID, MAIL],
  ])('will not become uid %d gid %d with the group %d', (uid, gid, mail) => {
    const wanted = kind === 'native' ? /will not become root/ : /needs the native host/;
    expect(() => host.becomeMailUser({ name: 'carol', uid, gid }, mail)).toThrow(wanted);
    if (mail === MAIL) expect(() => host.setEffectiveUser(uid, gid)).toThrow(/will not become root/);
  });

  test('borrowing a group is for synchronous work in a group that is not root’s', () => {
    expect(() => host.withGroup(0xffffffff, () => 1)).toThrow();
    const own = process.getegid!();
    if (own !== 0) expect(host.withGroup(own, () => 'done')).toBe('done');
  });

  test.skipIf(isRoot)('without root nothing is changed, and that is an error', () => {
    const before = [process.getuid!(), process.geteuid!(), process.getgid!(), process.getegid!()];
    expect(() => host.becomeMailUser({ name: 'carol', uid: UID, gid: GID }, MAIL)).toThrow();
    expect(() => host.setEffectiveUser(UID, GID)).toThrow();
    expect(() => host.regainRoot()).toThrow();
    expect(() => host.withGroup(MAIL, () => 1)).toThrow();
    expect([process.getuid!(), process.geteuid!(), process.getgid!(), process.getegid!()]).toEqual(before);
  });
});

test('warmUp starts every thread of the pool', () => {
  const threads = (size: string) =>
    runHost(`await host.warmUp(); print(fs.readdirSync('/proc/self/task').length)`, {
      UV_THREADPOOL_SIZE: size,
    }).printed[0] as number;
  expect(threads('9') - threads('1')).toBe(8);
});

describe.skipIf(!isRoot)('becomeMailUser', () => {
  test('every thread is the user, with nothing but the saved group besides', () => {
    expect(runHost(`await host.warmUp(); ${BECOME} print(ids());`)).toEqual(clean([[DROPPED]]));
  });

  test('without a mail group the saved group is the user’s too', () => {
    const body = `host.becomeMailUser({ name: 'carol', uid: ${UID}, gid: ${GID} }, undefined); print(ids());`;
    const ids = `Uid: ${UID} ${UID} ${UID} ${UID} Gid: ${GID} ${GID} ${GID} ${GID} Groups:`;
    expect(runHost(body)).toEqual(clean([[ids]]));
  });

  test('C45: root is gone for good, in the pool’s threads too', () => {
    const secret = join(dir, 'secret');
    writeFileSync(secret, 'secret', { mode: 0o600 });
    const body = `
      const { readFile } = await import('node:fs/promises');
      await host.warmUp();
      await Promise.all(Array.from({ length: 8 }, () => readFile(${JSON.stringify(secret)})));
      ${BECOME}
      print(['setuid', 'seteuid', 'setgid', 'setegid'].map(name => attempt(() => process[name](0))));
      print(attempt(() => process.setgroups([0])));
      print(attempt(() => host.regainRoot()));
      const reads = Array.from({ length: 8 }, () => readFile(${JSON.stringify(secret)}));
      print((await Promise.allSettled(reads)).map(read => read.reason?.code));
      print(ids());`;
    const { printed, stderr } = runHost(body);
    expect(stderr).toBe('');
    const text = JSON.stringify(printed.slice(0, 3));
    expect(text.match(/EPERM/g)).toHaveLength(6);
    expect(printed.slice(3)).toEqual([Array(8).fill('EACCES'), [DROPPED]]);
  });

  test('C45: the user can neither read the process’s memory nor see its descriptors', () => {
    const body = `
      const { spawnSync } = await import('node:child_process');
      ${BECOME}
      for (const [program, file] of [['cat', 'environ'], ['cat', 'mem'], ['ls', 'fd']]) {
        print(spawnSync(program, ['/proc/' + process.pid + '/' + file]).status === 0);
      }`;
    expect(runHost(body)).toEqual(clean([false, false, false]));
  });

  test.skipIf(!hasSetpriv)('a capability that the change of user does not take away is an error', () => {
    const prefix = ['setpriv', '--securebits', '+no_setuid_fixup'];
    const { printed, stderr, status } = runHost(BECOME, {}, prefix);
    expect({ printed, status }).toEqual({ printed: [], status: 1 });
    expect(stderr).toMatch(/root could be regained/);
  });

  test('needs root as the effective user', () => {
    const body = `
      host.setEffectiveUser(${UID}, ${GID});
      print(attempt(() => { ${BECOME} }));
      host.regainRoot();
      ${BECOME}
      print(ids());`;
    expect(runHost(body)).toEqual(clean([expect.stringMatching(/EPERM|not permitted/), [DROPPED]]));
  });
});

describe.skipIf(!isRoot)('setEffectiveUser', () => {
  test('changes the effective ids of every thread, and regainRoot gives them back', () => {
    const body = `
      await host.warmUp();
      process.setgroups([1, 2]);
      host.setEffectiveUser(${UID}, ${GID});
      print(ids());
      host.regainRoot();
      print(ids());`;
    expect(runHost(body)).toEqual(
      clean([
        [`Uid: 0 ${UID} 0 ${UID} Gid: 0 ${GID} 0 ${GID} Groups:`],
        ['Uid: 0 0 0 0 Gid: 0 0 0 0 Groups:'],
      ]),
    );
  });

  test('what only root may read cannot be read meanwhile', () => {
    const secret = JSON.stringify(join(dir, 'secret'));
    const body = `
      fs.writeFileSync(${secret}, 'secret', { mode: 0o600 });
      host.setEffectiveUser(${UID}, ${GID});
      print(attempt(() => fs.readFileSync(${secret}, 'utf8')));
      host.regainRoot();
      print(attempt(() => fs.readFileSync(${secret}, 'utf8')));`;
    expect(runHost(body)).toEqual(clean([expect.stringMatching(/EACCES/), 'secret']));
  });
});

describe.skipIf(!isRoot)('withGroup', () => {
  /** A spool as Debian has it: root:mail 2775. */
  function spool(): string {
    const path = join(dir, 'spool');
    mkdirSync(path);
    chownSync(path, 0, MAIL);
    chmodSync(path, 0o2775);
    return path;
  }
  const GROUP = `const group = () => Number(/^Gid:.*\\s(\\d+)$/m.exec(
    fs.readFileSync('/proc/thread-self/status', 'latin1'))[1]);`;

  test('C24: files can be made in the spool inside, and only inside', () => {
    const path = spool();
    const make = (name: string) => `fs.writeFileSync(${JSON.stringify(join(path, name))}, '')`;
    const body = `
      ${GROUP}
      await host.warmUp();
      ${BECOME}
      print(attempt(() => ${make('before')}));
      print(host.withGroup(${MAIL}, () => { ${make('inside')}; return group(); }));
      print(group());
      print(attempt(() => ${make('after')}));
      print(ids());`;
    expect(runHost(body)).toEqual(
      clean([expect.stringMatching(/EACCES/), MAIL, GID, expect.stringMatching(/EACCES/), [DROPPED]]),
    );
    expect(statSync(join(path, 'inside'))).toMatchObject({ uid: UID, gid: MAIL });
  });

  test('is given back after an error, after a promise, and one inside the other', () => {
    const body = `
      ${GROUP}
      ${BECOME}
      print(attempt(() => host.withGroup(${MAIL}, () => { throw new Error('thrown inside'); })));
      print(group());
      print(attempt(() => host.withGroup(${MAIL}, async () => {})));
      print(group());
      print(host.withGroup(${MAIL}, () => [host.withGroup(${GID}, group), group()]));
      print(group());`;
    expect(runHost(body)).toEqual(
      clean(['thrown inside', GID, 'work in another group must be synchronous', GID, [GID, MAIL], GID]),
    );
  });

  test('of another group is refused, and nothing is run', () => {
    const body = `
      ${GROUP}
      ${BECOME}
      print(attempt(() => host.withGroup(${MAIL + 1}, () => print('run'))));
      print(attempt(() => host.withGroup(0, () => print('run'))));
      print(group());`;
    expect(runHost(body)).toEqual(
      clean([`no permission to use group ${MAIL + 1}`, "will not use root's group", GID]),
    );
  });

  test('asynchronous work begun inside does not have the group', () => {
    const path = JSON.stringify(join(spool(), 'late'));
    const body = `
      const { writeFile } = await import('node:fs/promises');
      await host.warmUp();
      ${BECOME}
      let late;
      host.withGroup(${MAIL}, () => { late = writeFile(${path}, '').then(() => 'made', error => error.code); });
      print(await late);
      print(ids());`;
    expect(runHost(body)).toEqual(clean(['EACCES', [DROPPED]]));
  });
});
