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
  ['at random', [1, 0, 2]] as const,
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
