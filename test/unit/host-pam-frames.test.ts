// Questions and answers between the server and the processes that call PAM: what is one, in any cutting, and
// what is none.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isUserName } from '../../lib/auth/user-name.js';
import {
  BadFrame,
  decodeAnswer,
  decodeQuestion,
  encodeAnswer,
  encodeQuestion,
  FrameReader,
  MAX_FRAME,
  numberOf,
} from '../../lib/host/pam-frames.js';
import { runs } from '../support/runs.js';

const QUESTION = {
  user: 'alice',
  password: Buffer.from('a\tb\n=\x01\xff', 'latin1'),
  address: '2001:db8::7',
};

/** What a reader makes of these pieces. */
function read<T>(pieces: Uint8Array[], handle: (frame: Buffer) => T): T[] {
  const reader = new FrameReader();
  const found: T[] = [];
  for (const piece of pieces) reader.read(Buffer.from(piece), frame => found.push(handle(frame)));
  return found;
}

test('C44: any password, in any cutting, arrives as it is, with its number', () => {
  const password = fc.uint8Array({ minLength: 1, maxLength: 511 }).filter(octets => !octets.includes(0));
  const question = fc.record({ number: fc.nat(), password });
  const run = fc.property(
    fc.array(question, { minLength: 1, maxLength: 5 }),
    fc.integer({ min: 1, max: 700 }),
    (questions, size) => {
      const stream = Buffer.concat(
        questions.map(({ number, password }) => encodeQuestion(number, { ...QUESTION, password })),
      );
      const pieces = Array.from({ length: Math.ceil(stream.length / size) }, (_, n) =>
        stream.subarray(n * size, (n + 1) * size),
      );
      const found = read(pieces, frame => ({
        number: numberOf(frame),
        password: Uint8Array.from(decodeQuestion(frame).password),
      }));
      expect(found).toEqual(questions);
    },
  );
  fc.assert(run, runs(20030901, 300));
});

test('answers of each kind; a reason is cut and printable', () => {
  const answers = [
    { verdict: 'right', user: 'alice', reason: '' },
    { verdict: 'refused', user: '', reason: 'no' },
    { verdict: 'failed', user: '', reason: 'why not' },
  ] as const;
  expect(
    read(
      answers.map(answer => encodeAnswer(7, answer)),
      decodeAnswer,
    ),
  ).toEqual(answers);
  const long = encodeAnswer(7, { verdict: 'failed', user: '', reason: `a\nb\u20ac${'x'.repeat(70_000)}` });
  expect(long.length).toBeLessThanOrEqual(MAX_FRAME);
  expect(read([long], decodeAnswer)[0]!.reason).toMatch(/^a\?b\?x{196}$/);
});

describe('what is no frame', () => {
  test('random octets are refused or waited for, never taken', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), octets => {
        const taken: string[] = [];
        try {
          read([octets], frame => taken.push(decodeQuestion(frame).user));
        } catch (error) {
          expect(error).toBeInstanceOf(BadFrame);
        }
        expect(taken.every(isUserName)).toBe(true);
      }),
      runs(20030901, 1000),
    );
  });

  test('every octet of a question changed, every length', () => {
    const good = encodeQuestion(1, QUESTION);
    for (let at = 0; at < good.length; at++) {
      for (const octet of [0, 1, 47, 255]) {
        const bad = Buffer.from(good);
        bad[at] = octet;
        try {
          for (const { user, password } of read([bad], decodeQuestion)) {
            expect(isUserName(user) && password.length > 0 && !password.includes(0)).toBe(true);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(BadFrame);
        }
      }
      expect(read([good.subarray(0, at)], decodeQuestion)).toEqual([]);
    }
  });

  test.each([0, 1, 3, MAX_FRAME - 1, 65_535])('a length of %d', length => {
    expect(() => read([Buffer.of(length >> 8, length & 255)], decodeQuestion)).not.toThrow(TypeError);
    if (length < 4 || length + 2 > MAX_FRAME) {
      expect(() => read([Buffer.of(length >> 8, length & 255, 0, 0, 0, 0)], decodeQuestion)).toThrow(
        BadFrame,
      );
    }
  });

  test('an answer that names nobody, or no verdict', () => {
    expect(() => decodeAnswer(encodeAnswer(1, { verdict: 'right', user: '../x', reason: '' }))).toThrow(
      BadFrame,
    );
    expect(() => decodeAnswer(Buffer.of(0, 4, 0, 0, 0, 1))).toThrow(BadFrame);
    expect(() => decodeAnswer(Buffer.of(0, 9, 0, 0, 0, 1, 3, 0, 0, 0, 0))).toThrow(BadFrame);
  });
});

test('no name goes through that is no user name', () => {
  const names = [
    'alice',
    'a@b',
    '_x',
    'x'.repeat(64),
    'x'.repeat(65),
    '',
    '.a',
    '-a',
    '+a',
    'a/b',
    'a:b',
    'a b',
    'a\n',
    '\u00e4',
  ];
  for (const user of names) {
    const decode = () => decodeQuestion(encodeQuestion(1, { ...QUESTION, user }));
    if (isUserName(user)) expect(decode().user).toBe(user);
    else expect(decode).toThrow(BadFrame);
  }
});

test('what held a password is wiped', () => {
  const chunk = encodeQuestion(1, QUESTION);
  const reader = new FrameReader();
  let frame: Buffer = Buffer.alloc(0);
  reader.read(chunk, given => {
    frame = given;
  });
  expect([...chunk, ...frame].every(octet => octet === 0)).toBe(true);
});
