/** Keys of session tickets: the same in all processes at the same hour, others each hour, old ones gone. */
import { expect, test } from 'vitest';
import { TICKET_KEY_LIFE, TicketKeys } from '../../lib/tls/ticket-keys.js';

test('processes that share a secret have the same keys, whenever each of them looks', () => {
  let now = 1_000_000 * TICKET_KEY_LIFE + 1;
  const clock = () => now;
  const one = new TicketKeys(undefined, clock);
  const other = new TicketKeys(one.secret, clock);
  const seen: string[] = [];
  for (const hours of [0, 1, 1, 100]) {
    now += hours * TICKET_KEY_LIFE;
    expect(one.turn()).toBe(hours > 0);
    // One that begins now has what one has that began before, and slept through some of it.
    expect(new TicketKeys(one.secret, clock).octets).toEqual(one.octets);
    if (hours !== 1) other.turn();
    if (hours !== 1) expect(other.octets).toEqual(one.octets);
    expect(one.octets).toHaveLength(48);
    seen.push(one.octets.toString('hex'));
  }
  expect(new Set(seen).size).toBe(4);
});

test('a clock that goes back brings no old keys back, and no new ones', () => {
  let now = 1000 * TICKET_KEY_LIFE;
  const keys = new TicketKeys(undefined, () => now);
  const before = keys.octets;
  now -= 1;
  expect(keys.turn()).toBe(false);
  expect(keys.octets).toEqual(before);
  now += 1;
  expect(keys.turn()).toBe(false);
  now += TICKET_KEY_LIFE;
  expect(keys.turn()).toBe(true);
});

test('the secret that is handed out is a copy, and those of two servers have nothing in common', () => {
  const keys = new TicketKeys();
  const before = keys.octets;
  keys.secret.secret.fill(0);
  expect(keys.octets).toEqual(before);
  expect(new TicketKeys().octets).not.toEqual(before);
});
