// Editing a users file never changes an octet of any other line, whatever stands there.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  passwordField,
  passwordFields,
  withoutUser,
  withPasswordField,
  withUser,
} from '../../lib/auth/users-edit.js';
import { parseUsers } from '../../lib/auth/users-lines.js';
import { runs } from '../support/runs.js';

const SEED = 19791106;

const NAMES = ['alice', 'alic', 'alice2', 'bob', 'b'];
const name = fc.constantFrom(...NAMES);
const field = fc.string({ unit: fc.constantFrom('x', '$', '!', '{', '}', '=', '\xe9'), maxLength: 6 });
const rest = fc.constantFrom(
  '',
  ':',
  ':1:2',
  ':1:2:gecos:/home:/bin/sh:pop3=no allow_nets=10.0.0.0/8',
  '::::::userdb_x=\xff',
);
const junk = fc.constantFrom(
  '',
  '#',
  '# alice:x',
  '  # c',
  '\t',
  'alice',
  ' alice:x',
  ':x',
  'alice.lock:x',
  '\xff\0\r',
  '+::',
);
const line = fc.oneof(
  fc.tuple(name, field, rest).map(([user, password, more]) => `${user}:${password}${more}`),
  junk,
);
const text = fc
  .tuple(
    fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n')), { maxLength: 8 }),
    fc.option(line, { nil: '' }),
  )
  .map(([lines, last]) => lines.flat().join('') + last);

/** Lines with their ends; the empty one behind the last line end is none. */
const linesOf = (content: string) => content.match(/[^\n]*\n|[^\n]+$/g) ?? [];
const isOf = (user: string) => (content: string) => new RegExp(`^${user}(?::|\\r?\\n|\\r?$)`).test(content);

test('a new user is a line at the end', () => {
  fc.assert(
    fc.property(text, field, (before, password) => {
      const after = withUser(before, ['carol', password, '1000']);
      const gap = before === '' || before.endsWith('\n') ? '' : '\n';
      expect(after).toBe(`${before}${gap}carol:${password}:1000\n`);
      expect(passwordField(after, 'carol')).toBe(password);
    }),
    runs(SEED, 100),
  );
});

test('a new password changes one field of one line: the one that counts', () => {
  fc.assert(
    fc.property(text, name, field, (before, user, password) => {
      const after = withPasswordField(before, user, password);
      const lines = linesOf(before);
      const at = lines.findIndex(isOf(user));
      if (at === -1) {
        expect(after).toBeUndefined();
        return;
      }
      const changed = linesOf(after!);
      expect(changed.toSpliced(at, 1)).toEqual(lines.toSpliced(at, 1));
      const [, ...others] = lines[at]!.replace(/\r?\n$/, '')
        .split(':')
        .slice(1);
      const end = /\r?\n$/.exec(lines[at]!)?.[0] ?? '';
      expect(changed[at]).toBe([user, password, ...others].join(':') + end);
      expect(passwordField(after!, user)).toBe(password);
    }),
    runs(SEED, 100),
  );
});

test('a password put back leaves the file as it was', () => {
  fc.assert(
    fc.property(text, name, field, (before, user, password) => {
      const old = passwordField(before, user);
      fc.pre(old !== undefined && linesOf(before).find(isOf(user))!.includes(':'));
      expect(withPasswordField(withPasswordField(before, user, password)!, user, old!)).toBe(before);
    }),
    runs(SEED, 100),
  );
});

test('a removed user has no line left, and nobody else has one less', () => {
  fc.assert(
    fc.property(text, name, (before, user) => {
      const after = withoutUser(before, user);
      expect(linesOf(after)).toEqual(linesOf(before).filter(content => !isOf(user)(content)));
      expect(passwordField(after, user)).toBeUndefined();
    }),
    runs(SEED, 100),
  );
});

test('who has a line here is whom the server knows, with the same field', () => {
  fc.assert(
    fc.property(text, name, (content, user) => {
      const known = parseUsers(Buffer.from(content, 'latin1')).users.has(user);
      expect(passwordField(content, user) !== undefined).toBe(known);
      expect(passwordFields(content).get(user)).toBe(passwordField(content, user));
    }),
    runs(SEED, 100),
  );
});

describe('by example', () => {
  const FILE =
    '# staff\r\n\nalice:old:1:2:A. L.:/:/bin/sh:pop3=no\nalice:second\nalicia:x\nbroken line\nbob:b';

  test('passwd', () => {
    expect(withPasswordField(FILE, 'alice', 'new')).toBe(FILE.replace('alice:old', 'alice:new'));
    expect(withPasswordField(FILE, 'bob', '')).toBe(FILE.replace('bob:b', 'bob:'));
    expect(withPasswordField(FILE, 'ali', 'x')).toBeUndefined();
  });

  test('remove takes the second line of a name too: it would come to life', () => {
    expect(withoutUser(FILE, 'alice')).toBe('# staff\r\n\nalicia:x\nbroken line\nbob:b');
  });

  test('add ends a last line that has no end', () => {
    expect(withUser(FILE, ['carol', 'c'])).toBe(`${FILE}\ncarol:c\n`);
  });
});
