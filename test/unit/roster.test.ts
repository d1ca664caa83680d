import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Roster } from '../../lib/server/roster.js';

interface Named {
  readonly name: string;
}

function named(...names: string[]): Named[] {
  return names.map(name => ({ name }));
}

function present(roster: Roster<Named>): string {
  return Array.from(roster, ({ name }) => name)
    .sort()
    .join(' ');
}

test('has who came and has not gone', () => {
  const roster = new Roster<Named>();
  const [leaveA, , leaveC] = named('a', 'b', 'c').map(member => roster.add(member));
  expect(present(roster)).toBe('a b c');
  leaveA!();
  leaveC!();
  expect(present(roster)).toBe('b');
  const [leaveD] = named('d', 'e', 'f').map(member => roster.add(member));
  expect(present(roster)).toBe('b d e f');
  leaveD!();
  expect(present(roster)).toBe('b e f');
});

test.each([
  ['first to last', [0, 1, 2]] as const,
  ['last to first', [2, 1, 0]] as const,
  ['the middle one first', [1, 0, 2]] as const,
])('is empty when all have gone, %s, and is used again', (_, order) => {
  const roster = new Roster<Named>();
  const leave = named('a', 'b', 'c').map(member => roster.add(member));
  for (const n of order) leave[n]!();
  expect(present(roster)).toBe('');
  roster.add({ name: 'd' });
  expect(present(roster)).toBe('d');
});

test('all are met who may leave when they are met', () => {
  const roster = new Roster<Named>();
  const leave = new Map(named('a', 'b', 'c').map(member => [member.name, roster.add(member)]));
  const met: string[] = [];
  for (const { name } of roster) {
    met.push(name);
    leave.get(name)!();
  }
  expect(met.sort()).toEqual(['a', 'b', 'c']);
  expect(present(roster)).toBe('');
});

test('has the same as a Set after any coming and going', () => {
  const roster = new Roster<Named>();
  const set = new Set<string>();
  const inside: { name: string; leave: () => void }[] = [];
  let random = 7;
  for (let n = 0; n < 5000; n++) {
    random = (random * 48_271) % 2_147_483_647;
    // More come than go, and then more go than come.
    const comes = random % 10 < (Math.floor(n / 500) % 2 === 0 ? 7 : 3);
    if (comes || inside.length === 0) {
      const name = `m${n}`;
      inside.push({ name, leave: roster.add({ name }) });
      set.add(name);
    } else {
      const [gone] = inside.splice(random % inside.length, 1);
      gone!.leave();
      set.delete(gone!.name);
    }
    if (n % 50 === 0) expect(present(roster)).toBe([...set].sort().join(' '));
  }
});

test('going twice takes nobody else out', () => {
  const roster = new Roster<Named>();
  const [, leaveB] = named('a', 'b').map(member => roster.add(member));
  leaveB!();
  roster.add({ name: 'c' });
  leaveB!();
  expect(present(roster)).toBe('a c');
});

/** Octets of what was there before the last collection. */
function grownOld(): number {
  return getHeapSpaceStatistics()
    .filter(({ space_name: name }) => ['old_space', 'large_object_space'].includes(name))
    .reduce((sum, { space_used_size: size }) => sum + size, 0);
}

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

test('while somebody stays, places are used again', () => {
  const roster = new Roster<Named>();
  roster.add({ name: 'a' });
  gc();
  const before = grownOld();
  for (let n = 0; n < 1_000_000; n++) roster.add({ name: 'b' })();
  gc();
  expect((grownOld() - before) / 1e6).toBeLessThan(1);
  expect(present(roster)).toBe('a');
});

test('the room that many took is given back when all have gone', () => {
  const roster = new Roster<Named>();
  gc();
  const before = grownOld();
  const leaving = Array.from({ length: 300_000 }, () => roster.add({ name: 'a' }));
  for (const leave of leaving) leave();
  leaving.length = 0;
  gc();
  expect((grownOld() - before) / 1e6).toBeLessThan(1);
  expect(present(roster)).toBe('');
});
