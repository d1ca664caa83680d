/** C67: a flood of refused connections costs a few lines of the log, and their number. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { formatLine } from '../../lib/log.js';
import { LINES, RefusalLog, WINDOW } from '../../lib/server/refusal-log.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function start() {
  const lines: string[] = [];
  const log = new RefusalLog({
    write: (level, who, event, fields) => lines.push(`${level} ${formatLine(who, event, fields)}`),
  });
  const refuse = (who: string) => log.write('warn', who, 'refused', { reason: 'many' });
  return { log, lines, refuse };
}

test('one line for an address, then how many more; the next window begins afresh', () => {
  const { lines, refuse } = start();
  for (let i = 0; i < 1000; i++) refuse('192.0.2.1');
  expect(lines).toEqual(['warn 192.0.2.1 refused reason=many']);
  vi.advanceTimersByTime(WINDOW);
  expect(lines.slice(1)).toEqual(['warn - refused-more of=refused connections=999']);
  refuse('192.0.2.1');
  expect(lines.slice(2)).toEqual(['warn 192.0.2.1 refused reason=many']);
  vi.advanceTimersByTime(WINDOW);
  expect(lines.length).toBe(3);
});

test.each([
  [LINES - 1, 0],
  [LINES, 0],
  [LINES + 1, 1],
])('%i addresses: all but %i have a line', (addresses, more) => {
  const { log, lines, refuse } = start();
  for (let i = 0; i < addresses; i++) refuse(`192.0.2.${i}`);
  expect(lines.length).toBe(addresses - more);
  log.close();
  expect(lines.slice(addresses - more)).toEqual(
    more ? [`warn - refused-more of=refused connections=${more}`] : [],
  );
});

test('one event does not hide another, and what is only for who asks is not counted', () => {
  const { log, lines, refuse } = start();
  for (let i = 0; i < 100; i++) log.write('info', `192.0.2.${i}`, 'tls-failed', { reason: 'timeout' });
  refuse('192.0.2.1');
  expect(lines.at(-1)).toBe('warn 192.0.2.1 refused reason=many');
  for (let i = 0; i < 50; i++) log.write('debug', '192.0.2.1', 'no-login', { reason: 'closed' });
  expect(lines.length).toBe(LINES + 1 + 50);
  log.close();
  expect(lines.slice(LINES + 51)).toEqual(['warn - refused-more of=tls-failed connections=90']);
});

test('a backend that fails in another way is another line', () => {
  const { log, lines } = start();
  const fail = (cause: string) =>
    log.write('warn', '192.0.2.1', 'login-failed', { reason: 'SYS/TEMP', cause });
  fail('ENOENT');
  fail('ECONNREFUSED');
  fail('ENOENT');
  expect(lines.map(line => /cause=(\w+)/.exec(line)?.[1])).toEqual(['ENOENT', 'ECONNREFUSED']);
});
