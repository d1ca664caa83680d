// Networks as the settings write them, and what clients are counted by.
import { expect, test } from 'vitest';
import { BadNetwork, Networks, networkOf } from '../../lib/networks.js';

test.each([
  ['192.0.2.0/24', '192.0.2.255', true],
  ['192.0.2.0/24', '192.0.3.0', false],
  ['192.0.2.7', '192.0.2.7', true],
  ['192.0.2.7', '192.0.2.8', false],
  ['0.0.0.0/0', '203.0.113.9', true],
  ['0.0.0.0/0', '2001:db8::1', false],
  ['2001:db8::/32', '2001:db8:ffff::1', true],
  ['2001:db8::/32', '2001:db9::1', false],
  ['::1', '::1', true],
  ['::/0', '192.0.2.1', false],
  ['::/0', '2001:db8::1', true],
  ['fe80::/10', 'fe80::1%eth0', true],
  ['0.0.0.0/0', 'unknown', false],
])('%s has %s: %s', (network, address, expected) => {
  expect(new Networks([network]).has(address)).toBe(expected);
});

test.each([
  '',
  'localhost',
  '192.0.2.0/33',
  '192.0.2',
  '::1/129',
  '192.0.2.0/',
  '10.0.0.0/8 ',
  '/8',
  '1.2.3.4/-1',
  // No peer is given so: it would deny nobody.
  '::ffff:10.0.0.0/104',
  '::FFFF:192.0.2.1',
])('%j is no network', text => {
  expect(() => new Networks([text])).toThrow(BadNetwork);
});

test('none has nobody', () => {
  expect(new Networks([]).has('192.0.2.1')).toBe(false);
});

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['unknown', 'unknown'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002::6', '2001:db8:1:2::/64'],
  ['2001:db8::6', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['1:2:3::192.0.2.1', '1:2:3:0::/64'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
])('%s is counted as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});
