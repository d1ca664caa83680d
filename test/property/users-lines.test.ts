// Whatever stands in a users file, it is read, names what is wrong without telling secrets, and opens no door.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { comparePassword } from '../../lib/auth/password.js';
import { schemeOf } from '../../lib/auth/password-field.js';
import { readSecret } from '../../lib/auth/secret.js';
import { parseUsers } from '../../lib/auth/users-lines.js';
import { Unavailable } from '../../lib/errors.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { runs } from '../support/runs.js';

const SEED = 19791105;

const SCHEMES = [
  'PLAIN',
  'CRYPT',
  'SSHA',
  'SSHA512',
  'PBKDF2',
  'SCRAM-SHA-256',
  'BLF-CRYPT',
  'plain.b64',
  'SSHA.HEX',
  'X',
];
const octet = fc.integer({ min: 0, max: 255 }).map(code => String.fromCharCode(code));
const junk = fc.string({ unit: fc.oneof(octet, fc.constantFrom(...'$,=+/:!*{}09aZ')), maxLength: 40 });
const field = fc.oneof(
  junk,
  fc.tuple(fc.constantFrom(...SCHEMES), junk).map(([scheme, value]) => `{${scheme}}${value}`),
  fc
    .tuple(fc.constantFrom('$y$', '$6$', '$6$rounds=', '$2b$', '$7$', '$1$', '$sha1$', '_'), junk)
    .map(parts => parts.join('')),
  fc
    .tuple(fc.nat(), fc.base64String({ maxLength: 60 }), fc.base64String({ maxLength: 60 }), junk)
    .map(parts => `{SCRAM-SHA-1}${parts.join(',')}`),
);
const host = createPortableHost();

test('C49: a users file of random octets is read to its end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), content => {
      const { users, problems } = parseUsers(Buffer.concat([content, Buffer.from('\nzoe:{PLAIN}z\n')]));
      expect(users.get('zoe')?.secret.kind).toBe('plain');
      for (const { reason } of problems) expect(reason).toMatch(/^[\x20-\x7e]+$/);
    }),
    runs(SEED, 100),
  );
});

test('C57: no field lets anybody in with an empty password, or with itself, but a {PLAIN} one', async () => {
  const passwords = ['', 'x', 'password'];
  await fc.assert(
    fc.asyncProperty(field, async stored => {
      const secret = readSecret(stored);
      for (const password of [...passwords, stored]) {
        if (secret.kind === 'plain' && Buffer.from(secret.octets).equals(Buffer.from(password, 'latin1')))
          continue;
        const result = await comparePassword(host, Buffer.from(password, 'latin1'), secret).catch(error => {
          // No crypt(3) here: it cannot be told.
          if (!(error instanceof Unavailable)) throw error;
          return 'unavailable';
        });
        expect(result).not.toBe('right');
      }
    }),
    runs(SEED, 100),
  );
});

test('the name of a scheme tells nothing of the secret', () => {
  fc.assert(
    fc.property(field, stored => {
      expect(schemeOf(stored)).toMatch(/^(-|unknown|[A-Z][A-Z0-9-]+)$/);
    }),
    runs(SEED, 100),
  );
});
