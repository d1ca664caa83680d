/** Signals that come with a failed system call: the call's error is enough. */
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Dotlock } from '../../lib/maildrop/dotlock.js';

test('C35: a write past the limit on the size of files does not end the process', async () => {
  expect(Dotlock).toBeDefined(); // Loads proper-lockfile, which brings listeners of its own.
  let came = false;
  process.once('SIGXFSZ', () => {
    came = true;
  });
  process.kill(process.pid, 'SIGXFSZ');
  while (!came) await setImmediate();
  // Without a listener that stays, this one ends the test process.
  process.kill(process.pid, 'SIGXFSZ');
  for (let turns = 0; turns < 100; turns++) await setImmediate();
  expect(process.listenerCount('SIGXFSZ')).toBeGreaterThan(1);
});
