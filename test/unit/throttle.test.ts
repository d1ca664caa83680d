// How long a login waits, after whose failures, and that nobody else's failures keep a user out.
import { describe, expect, test } from 'vitest';
import { Throttle } from '../../lib/server/throttle.js';

const HOME = '192.0.2.1';
const name = (user: string) => Buffer.from(user);

function world(settings = { most: 15_000, mostWaiting: 10 }) {
  const clock = { now: 0 };
  const throttle = new Throttle(settings, () => clock.now);
  const begin = (user: string, address = HOME) => {
    const attempt = throttle.begin(address, name(user));
    if (attempt === undefined) throw new Error('refused');
    return attempt;
  };
  /** @returns what each attempt waited, in s */
  const fail = (user: string, times: number, address = HOME) =>
    Array.from({ length: times }, () => {
      const attempt = begin(user, address);
      attempt.failed();
      return attempt.wait / 1000;
    });
  const waits = (user: string, address = HOME) => {
    const attempt = begin(user, address);
    attempt.abandoned();
    return attempt.wait / 1000;
  };
  return { clock, throttle, begin, fail, waits };
}

test('three slips cost nothing; then the wait doubles, up to its limit', () => {
  expect(world().fail('alice', 10)).toEqual([0, 0, 0, 1, 2, 4, 8, 15, 15, 15]);
});

test('C47: a user there is not is counted like any other', () => {
  const { fail } = world();
  expect(fail('alice', 8)).toEqual(world().fail('mallory', 8));
});

test('an address that tries one password with many users waits, too', () => {
  const { begin } = world();
  const waits = Array.from({ length: 9 }, (_, i) => {
    const attempt = begin(`user${i}`);
    attempt.failed();
    return attempt.wait / 1000;
  });
  expect(waits).toEqual([0, 0, 0, 0, 0, 1, 2, 4, 8]);
});

test('a /64 of IPv6 is one address', () => {
  const { fail, waits } = world();
  for (let i = 0; i < 6; i++) fail(`user${i}`, 1, `2001:db8::${i}`);
  expect(waits('alice', '2001:db8::ffff')).toBe(2);
  expect(waits('alice', '2001:db8:0:1::1')).toBe(0);
});

test('one user tried from everywhere: each waits a little, never as long as for an address', () => {
  const { fail, waits } = world();
  for (let i = 0; i < 60; i++) fail('alice', 1, `198.51.100.${i}`);
  expect(waits('alice')).toBe(5);
  expect(waits('bob')).toBe(0);
});

describe('C58: others do not keep a user out', () => {
  test('who has logged in from here waits neither for neighbours nor for attackers elsewhere', () => {
    const { begin, fail, waits } = world();
    begin('alice').succeeded();
    fail('bob', 20);
    for (let i = 0; i < 60; i++) fail('alice', 5, `198.51.100.${i}`);
    expect(waits('alice')).toBe(0);
    expect(waits('carol')).toBe(15);
  });

  test('but does for failures of their own here, until the right password', () => {
    const { begin, fail, waits } = world();
    begin('alice').succeeded();
    fail('alice', 4);
    expect(waits('alice')).toBe(2);
    begin('alice').succeeded();
    expect(waits('alice')).toBe(0);
  });

  test('an account of their own does not wash an attacker clean', () => {
    const { begin, fail, waits } = world();
    begin('mallory').succeeded();
    fail('alice', 9);
    begin('mallory').succeeded();
    expect(waits('bob')).toBe(15);
  });

  test('those who wait do not take the place of one who need not', () => {
    const { begin, fail, throttle } = world();
    begin('alice').succeeded();
    fail('bob', 10);
    for (let i = 0; i < 10; i++) begin('bob');
    expect(throttle.begin(HOME, name('bob'))).toBeUndefined();
    expect(throttle.begin(HOME, name('alice'))?.wait).toBe(0);
    expect(throttle.begin('192.0.2.2', name('bob'))?.wait).toBe(0);
  });
});

test('attempts at the same time are no way around: each waits longer than the one before', () => {
  const { begin, fail } = world();
  fail('alice', 3);
  expect([1, 2, 3, 4].map(() => begin('alice').wait)).toEqual([1000, 2000, 4000, 8000]);
});

test('many at the same time from one address, none of which has failed, wait for nothing', () => {
  const { begin } = world();
  expect(Array.from({ length: 200 }, (_, i) => begin(`user${i}`).wait)).toEqual(Array(200).fill(0));
});

test('the limit of those who wait: n-1, n, n+1, and again when one is done', () => {
  const { throttle, fail } = world({ most: 15_000, mostWaiting: 3 });
  fail('alice', 8);
  const [one] = [1, 2, 3].map(() => throttle.begin(HOME, name('alice'))!);
  expect(throttle.begin(HOME, name('alice'))).toBeUndefined();
  one!.abandoned();
  one!.abandoned();
  expect(throttle.begin(HOME, name('alice'))).toBeDefined();
  expect(throttle.begin(HOME, name('alice'))).toBeUndefined();
});

test('failures are forgotten by half each ten minutes', () => {
  const { clock, fail, waits } = world();
  fail('alice', 8);
  expect(waits('alice')).toBe(15);
  clock.now += 600_000;
  expect(waits('alice')).toBe(2);
  clock.now += 600_000;
  expect(waits('alice')).toBe(0);
});

test('a limit of 0 is no throttling', () => {
  const { fail } = world({ most: 0, mostWaiting: 1 });
  expect(fail('alice', 30)).toEqual(Array(30).fill(0));
});

test('memory is bounded, and who attacks last is not who is forgotten first', () => {
  const { begin, waits } = world();
  for (let i = 0; i < 30_000; i++) begin(`user${i}`, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`).failed();
  for (let i = 0; i < 9; i++) begin('alice', '203.0.113.1').failed();
  expect(waits('alice', '203.0.113.1')).toBe(15);
});
