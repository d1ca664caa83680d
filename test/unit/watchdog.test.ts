// What WATCHDOG_USEC and WATCHDOG_PID say, and that no child is told the same.
import { expect, test } from 'vitest';
import { feedWatchdog, watchdogInterval } from '../../lib/cli/watchdog.js';

const ME = String(process.pid);

test.each([
  ['120000000', undefined, 60_000],
  ['120000000', ME, 60_000],
  ['1', ME, 1],
  ['9999999999999999', ME, 2 ** 31 - 1],
  ['120000000', '1', undefined],
  ['120000000', '', undefined],
  ['120000000', `0${ME}`, undefined],
  [undefined, ME, undefined],
  ['', ME, undefined],
  ['0', ME, undefined],
  ['-5', ME, undefined],
  ['2s', ME, undefined],
  ['1e6', ME, undefined],
  ['18446744073709551615', ME, undefined], // USEC_INFINITY
])('%s of process %s', (usec, pid, interval) => {
  expect(watchdogInterval({ WATCHDOG_USEC: usec, WATCHDOG_PID: pid })).toBe(interval);
});

test('told at once, and the variables are gone; of somebody else, too', () => {
  const told: string[] = [];
  const host = { notify: (state: string) => told.push(state) };
  for (const pid of [ME, '1']) {
    const environment = { WATCHDOG_USEC: '120000000', WATCHDOG_PID: pid, PATH: '/bin' };
    feedWatchdog(host, environment)();
    expect(environment).toEqual({ PATH: '/bin' });
  }
  expect(told).toEqual(['WATCHDOG=1']);
});
