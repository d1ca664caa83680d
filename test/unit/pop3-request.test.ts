/** Octets to lines, lines to keyword and arguments. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BadRequest } from '../../lib/errors.js';
import { type Line, LineReader, MAX_DISCARDED, MAX_LINE, parseRequest } from '../../lib/pop3/request.js';
import { runs } from '../support/runs.js';

function show(line: Line): string {
  return typeof line === 'string' ? `!${line}` : Buffer.from(line).toString('latin1');
}

/** All lines of `chunks`, as they come. */
function read(chunks: Iterable<Uint8Array>): string[] {
  const reader = new LineReader();
  const lines: string[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let line = reader.next(); line !== undefined; line = reader.next()) lines.push(show(line));
  }
  return lines;
}

function cut(octets: Buffer, size: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < octets.length; at += size) chunks.push(octets.subarray(at, at + size));
  return chunks;
}

/** What LineReader does, said with all octets at hand. */
function slowly(octets: Buffer): string[] {
  const lines: string[] = [];
  for (let rest = octets.toString('latin1'); rest !== ''; ) {
    const end = rest.indexOf('\n');
    const line = end < 0 ? rest : rest.slice(0, end + 1);
    rest = rest.slice(line.length);
    if (line.length > MAX_LINE || (end < 0 && line.length === MAX_LINE)) {
      lines.push('!too-long');
      if (line.length > MAX_DISCARDED) lines.push('!flooded');
    } else if (end >= 0) lines.push(line.replace(/\r?\n$/, ''));
  }
  return lines;
}

describe('LineReader', () => {
  test('CRLF or a bare LF ends a line, and nothing else does', () => {
    expect(read([Buffer.from('STAT\r\nNOOP\n\r\n\n\r\r\na\rb\nQUIT')])).toEqual([
      'STAT',
      'NOOP',
      '',
      '',
      '\r',
      'a\rb',
    ]);
  });

  test.each([
    [MAX_LINE - 1, 'line'],
    [MAX_LINE, 'line'],
    [MAX_LINE + 1, 'too-long'],
  ])('a line of %i octets with its end is a %s', (length, expected) => {
    for (const end of ['\r\n', '\n']) {
      const line = 'A'.repeat(length - end.length);
      const wanted = expected === 'line' ? line : '!too-long';
      for (const size of [1, 7, MAX_LINE - 1, MAX_LINE, 4096]) {
        expect(read(cut(Buffer.from(`${line}${end}NOOP\r\n`), size))).toEqual([wanted, 'NOOP']);
      }
    }
  });

  test('an over-long line is told as soon as it is one', () => {
    const reader = new LineReader();
    reader.push(Buffer.alloc(MAX_LINE - 1, 'A'));
    expect(reader.next()).toBeUndefined();
    reader.push(Buffer.from('A'));
    expect(reader.next()).toBe('too-long');
    expect(reader.next()).toBeUndefined();
  });

  test.each([
    [MAX_DISCARDED, false],
    [MAX_DISCARDED + 1, true],
  ])('a line of %i octets floods: %s', (length, flooded) => {
    const octets = Buffer.from(`${'A'.repeat(length - 1)}\nNOOP\n`);
    const wanted = ['!too-long', ...(flooded ? ['!flooded'] : []), 'NOOP'];
    for (const size of [1000, 65_536, octets.length]) expect(read(cut(octets, size))).toEqual(wanted);
  });

  test('a flood is told once, without waiting for its end', () => {
    expect(read(cut(Buffer.alloc(1 << 20, 'A'), 65_536))).toEqual(['!too-long', '!flooded']);
  });

  test('any cutting into chunks gives the same lines', () => {
    const piece = fc.oneof(
      fc.constantFrom('\n', '\r\n', '\r', 'NOOP\r\n', '\0', ' '),
      fc.integer({ min: 1, max: MAX_LINE + 5 }).map(n => 'x'.repeat(n)),
      fc.integer({ min: MAX_DISCARDED - 3, max: MAX_DISCARDED + 3 }).map(n => 'y'.repeat(n)),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 20 }),
        (pieces, sizes) => {
          const octets = Buffer.from(pieces.join(''), 'latin1');
          const chunks: Buffer[] = [];
          for (let at = 0, i = 0; at < octets.length; i++) {
            const size = sizes[i % sizes.length] ?? 1;
            chunks.push(octets.subarray(at, at + size));
            at += size;
          }
          expect(read(chunks)).toEqual(slowly(octets));
        },
      ),
      runs(1939, 300),
    );
  });

  test('a hundred thousand commands in one chunk are views of it, not copies', () => {
    const chunk = Buffer.from('NOOP\r\n'.repeat(100_000));
    const reader = new LineReader();
    reader.push(chunk);
    for (let i = 0; i < 100_000; i++) {
      const line = reader.next();
      if (!(line instanceof Uint8Array) || line.buffer !== chunk.buffer)
        throw new Error(`line ${i} is a copy`);
      if (line.byteOffset !== chunk.byteOffset + 6 * i) throw new Error(`line ${i} begins elsewhere`);
    }
    expect(reader.next()).toBeUndefined();
  });
});

describe('parseRequest', () => {
  function parse(line: string) {
    const { keyword, start, end } = parseRequest(Buffer.from(line, 'latin1'));
    return [keyword, line.slice(start, end)];
  }

  test.each([
    ['STAT', 'STAT', ''],
    ['stat', 'STAT', ''],
    ['sTaT \t ', 'STAT', ''],
    ['LIST 1', 'LIST', ' 1'],
    ['LIST  1 ', 'LIST', '  1'],
    ['UTF8', 'UTF8', ''],
    [' STAT', '', ' STAT'],
    ['TOOLONG 1', '', ' 1'],
    // String.toUpperCase would make PASS of it.
    ['pa\xdf x', 'PA\xdf', ' x'],
    ['\xff\xfe', '\xff\xfe', ''],
  ])('%j', (line, keyword, rest) => {
    expect(parse(line)).toEqual([keyword, rest]);
  });

  test.each(['', ' ', '\t ', 'STAT\0', '\0', 'PASS a\0b', 'PASS a\rb', '\r'])('refuses %j', line => {
    expect(() => parse(line)).toThrow(BadRequest);
  });
});
