/** The first line of a reply. */
import { describe, expect, test } from 'vitest';
import { capabilities } from '../../lib/pop3/capabilities.js';
import type { ProofMethod } from '../../lib/pop3/ports.js';
import { err, MAX_STATUS, ok, statusLine } from '../../lib/pop3/reply.js';

describe('statusLine', () => {
  test.each([
    [ok('2 320'), '+OK 2 320\r\n'],
    // RFC 1957: the space is there even with nothing to say.
    [ok(''), '+OK done\r\n'],
    [err(''), '-ERR failed\r\n'],
    [err('Authentication failed', { code: 'AUTH' }), '-ERR [AUTH] Authentication failed\r\n'],
    [err('busy [here]', { code: 'IN-USE' }), '-ERR [IN-USE] busy [here]\r\n'],
    // RFC 2449 §6.4 (RESP-CODES): nothing but a code may begin with a bracket.
    [ok('[SYS/TEMP] no'), '+OK (SYS/TEMP] no\r\n'],
    [ok('two\r\n-ERR lines'), '+OK two??-ERR lines\r\n'],
    [err('caf\u00e9 \u2028 \x00'), '-ERR caf? ? ?\r\n'],
  ])('%j', (reply, line) => expect(statusLine(reply)).toBe(line));

  test('is never longer than RFC 1939 §3 allows', () => {
    const line = statusLine(err('x'.repeat(2000), { code: 'SYS/TEMP' }));
    expect(line).toHaveLength(MAX_STATUS);
    expect(line.endsWith('x\r\n')).toBe(true);
  });
});

test('RFC 2449 §5: capabilities before login are there after it', async () => {
  const context = {
    transport: { secure: false, stls: false, local: true },
    plaintext: 'always',
    mechanisms: 'auto',
    provable: async () => ({ all: new Set(['CRAM-MD5'] as const), some: new Set<ProofMethod>() }),
  } as const;
  const before = await capabilities({ ...context, state: 'authorization', features: { last: false } });
  const after = await capabilities({ ...context, state: 'transaction', features: { last: true } });
  expect(after).toEqual(expect.arrayContaining(before));
  expect(after).toContain('SASL CRAM-MD5 PLAIN LOGIN');
  for (const line of after) expect(line).toMatch(/^[\x21-\x2d\x2f-\x7e]+( [\x21-\x7e]+)*$/);
});
