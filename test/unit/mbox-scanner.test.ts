/** Files as they really are, each failure of other servers by name, and offsets past 4 GiB. */
import { describe, expect, test } from 'vitest';
import { MAX_FROM_LINE } from '../../lib/mbox/from-line.js';
import { NotMbox, Scanner } from '../../lib/mbox/scanner.js';
import { type Cutting, cut, extents, scan, wire } from '../support/oracle-tools.js';

const FROM = 'From carol@example.org Sat Jan  3 01:05:34 1996\n';
const bytes = (text: string) => Buffer.from(text, 'latin1');
const CUTTINGS: Cutting[] = [[1], [2], [7], [64], [4096], [65535], [65536], [1 << 30]];

/** The wire forms of all messages; checks octets and every cutting on the way. */
function served(text: string): string[] {
  const file = bytes(text);
  const index = scan(file);
  for (const cutting of CUTTINGS) expect(extents(scan(file, cutting))).toEqual(extents(index));
  return extents(index).map((e, i) => {
    const sent = wire(file, e);
    expect(sent.length).toBe(index.octets(i + 1));
    expect(e.end).toBe(extents(index)[i + 1]?.start ?? file.length);
    return sent.toString('latin1');
  });
}

describe('a mailbox file', () => {
  test.each<[string, string, string[]]>([
    ['of 0 octets', '', []],
    ['of empty lines', '\n\r\n\n', []],
    ['of one CR', '\r', []],
    ['with one message', `${FROM}A: b\n\nbody\n\n`, ['A: b\r\n\r\nbody\r\n']],
    ['with two', `${FROM}A: b\n\n1\n\n${FROM}C: d\n\n2\n\n`, ['A: b\r\n\r\n1\r\n', 'C: d\r\n\r\n2\r\n']],
    [
      'with CRLF',
      `${FROM}A: b\n\n1\n\n${FROM}\n2\n`.replaceAll('\n', '\r\n'),
      ['A: b\r\n\r\n1\r\n', '\r\n2\r\n'],
    ],
    [
      'with mixed line ends',
      `${FROM}A: b\r\n\n1\r\n2\n\r\n${FROM}\r\n3\n`,
      ['A: b\r\n\r\n1\r\n2\r\n', '\r\n3\r\n'],
    ],
    ['without final newline', `${FROM}A: b\n\nbody`, ['A: b\r\n\r\nbody\r\n']],
    ['ending in CR', `${FROM}A: b\n\nbody\r`, ['A: b\r\n\r\nbody\r\n']],
    ['ending in an empty line without LF', `${FROM}A: b\n\nbody\n\r`, ['A: b\r\n\r\nbody\r\n']],
    ['ending in the header', `${FROM}A: b`, ['A: b\r\n']],
    ['ending in a hidden field', `${FROM}A: b\nStatus: R`, ['A: b\r\n']],
    ['ending in the name of a hidden field', `${FROM}A: b\nStat`, ['A: b\r\nStat\r\n']],
    ['ending in a From_ line', `${FROM}A: b\n\n${FROM.trimEnd()}`, ['A: b\r\n', '']],
    ['with headers only', `${FROM}A: b\n\n${FROM}C: d\n`, ['A: b\r\n', 'C: d\r\n']],
    ['with an empty body', `${FROM}A: b\n\n\n${FROM}C: d\n\n\n`, ['A: b\r\n\r\n', 'C: d\r\n\r\n']],
    ['with a body of empty lines', `${FROM}A: b\n\n\n\n\n${FROM}`, ['A: b\r\n\r\n\r\n\r\n', '']],
    ['without headers', `${FROM}\nbody\n\n${FROM}\nbody\n`, ['\r\nbody\r\n', '\r\nbody\r\n']],
    ['with From_ lines only', `${FROM}\n${FROM}\n${FROM}`, ['', '', '']],
    ['after empty lines', `\n\r\n\n${FROM}A: b\n\nx\n`, ['A: b\r\n\r\nx\r\n']],
    ['with From_ in the header', `${FROM}${FROM}A: b\n\nx\n`, [`${FROM.trimEnd()}\r\nA: b\r\n\r\nx\r\n`]],
    ['with From_ in a paragraph', `${FROM}\nx\n${FROM}y\n`, [`\r\nx\r\n${FROM.trimEnd()}\r\ny\r\n`]],
    ['with From_ after a space', `${FROM}\nx\n \n${FROM}y\n`, [`\r\nx\r\n \r\n${FROM.trimEnd()}\r\ny\r\n`]],
    ['with From_ after a lone CR', `${FROM}\nx\r\r\n${FROM}y\n`, [`\r\nx\r\r\n${FROM.trimEnd()}\r\ny\r\n`]],
    [
      'with prose after an empty line',
      `${FROM}\nx\n\nFrom here on\n\ny\n`,
      ['\r\nx\r\n\r\nFrom here on\r\n\r\ny\r\n'],
    ],
    ['with quoted From_', `${FROM}\nx\n\n>${FROM}y\n`, [`\r\nx\r\n\r\n>${FROM.trimEnd()}\r\ny\r\n`]],
    ['with lone dots', `${FROM}\n.\n..\n.`, ['\r\n.\r\n..\r\n.\r\n']],
    [
      'with NULs, 8-bit and lone CRs',
      `${FROM}A\0: \xff\n\n\0\x80\rx\r\r\n`,
      ['A\0: \xff\r\n\r\n\0\x80\rx\r\r\n'],
    ],
    [
      'with metadata',
      `${FROM}Status: RO\nA: b\n c\nX-UID: 1\n 2\nD: e\n\nStatus: x\n`,
      ['A: b\r\n c\r\nD: e\r\n\r\nStatus: x\r\n'],
    ],
  ])('%s', (_, text, expected) => expect(served(text)).toEqual(expected));

  test('offsets of every part', () => {
    const file = bytes(`\n${FROM}A: b\n\nxy\n\n${FROM}C: d\n\n`);
    const [first, second] = extents(scan(file));
    expect(first).toMatchObject({
      start: 1,
      header: 49,
      body: 55,
      contentEnd: 58,
      end: 59,
      octets: 12,
      bodyOctets: 4,
    });
    expect(second).toMatchObject({
      start: 59,
      header: 107,
      body: 112,
      contentEnd: 112,
      end: 113,
      octets: 6,
      bodyOctets: 0,
    });
  });

  test('a message-number out of range is the caller’s mistake', () => {
    const index = scan(bytes(`${FROM}\n`));
    for (const n of [0, 2, -1, 1.5, Number.NaN]) {
      expect(() => index.extent(n)).toThrow(RangeError);
      expect(() => index.octets(n)).toThrow(RangeError);
    }
  });
});

describe('not a mailbox file', () => {
  test.each<[string, string, number]>([
    ['text', 'Dear diary,\n', 0],
    ['text without newline', 'x', 0],
    ['text after empty lines', `\n\r\n\nDear diary,\n${FROM}`, 4],
    ['a byte order mark', `\xef\xbb\xbf${FROM}\n`, 0],
    ['From without a date', `From nobody\n\n${FROM}`, 0],
    ['a space before', ` ${FROM}`, 0],
    ['a CR before', `\r${FROM}`, 0],
    ['header fields', 'Subject: x\n\nbody\n', 0],
    ['a From_ line that is too long', `From ${'x'.repeat(MAX_FROM_LINE)}${FROM.slice(4)}`, 0],
    ['NULs', '\0'.repeat(10_000), 0],
  ])('%s', (_, text, offset) => {
    for (const cutting of CUTTINGS) {
      const refused = expect(() => scan(bytes(text), cutting));
      refused.toThrow(NotMbox);
      refused.toThrow(expect.objectContaining({ offset }));
    }
  });

  test('is known without reading on', () => {
    const scanner = new Scanner();
    expect(() => {
      for (let i = 0; i < 4; i++) scanner.push(Buffer.alloc(1024, 'x'));
    }).toThrow(NotMbox);
    expect(() => new Scanner().push(bytes('\nx\n'))).toThrow(NotMbox);
  });
});

describe('forged boundaries', () => {
  // A line that ends at the edge of a read buffer must not make the next one look like the first.
  const sizes = [7, 64, 128, 1023, 1024, MAX_FROM_LINE, MAX_FROM_LINE + 2, 4096, 65536];
  test.each(sizes)('a line around %i octets before From_', size => {
    const follows = [FROM, 'From x\n', '.\n', '\n', '\r\n', `\n${FROM}`];
    for (let length = size - 2; length <= size + 2; length++) {
      for (const next of follows) {
        const text = `${FROM}A: b\n\n${'x'.repeat(length)}\n${next}rest\n\n${FROM}A: c\n\ny\n`;
        const file = bytes(text);
        const expected = next === `\n${FROM}` ? 3 : 2;
        for (const cutting of [[size], [size - 1], [size + 1], [FROM.length + 6, size], [1 << 20]]) {
          expect(scan(file, cutting).messages).toBe(expected);
        }
      }
    }
  });

  test('a From_ line in an attachment or a digest, without empty line, is body', () => {
    expect(served(`${FROM}A: b\n\n--x\n${FROM}Subject: forged\n\nbody\n`)).toHaveLength(1);
  });

  const plain = `${FROM}A: b\n@\nbody\n\nmore\n\n${FROM}C: d\n\nsecond\n\n${FROM}E: f\n\nthird\n`;
  test.each(['0', '-1', '1000000000000000000', '6', '11', '60', '68', '1e9', 'x', '5\nContent-Length: 90'])(
    'Content-Length: %s decides nothing',
    value => {
      const honest = served(plain.replace('@\n', '\n'));
      expect(served(plain.replace('@\n', `Content-Length: ${value}\n\n`))).toEqual(honest);
    },
  );
});

describe('folder internal data', () => {
  const pseudo = `${FROM}Date: x\nFrom: Mail System Internal Data <MAILER-DAEMON@host>\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\nStatus: RO\n\nThis text is part of the internal format.\n\n`;
  const mail = `${FROM}A: b\n\nbody\n\n`;

  test.each([
    ['before mail', pseudo + mail],
    ['alone', pseudo],
    ['with CRLF', (pseudo + mail).replaceAll('\n', '\r\n')],
    ['after empty lines', `\n\n${pseudo}${mail}`],
    ['without body', pseudo.slice(0, pseudo.indexOf('This'))],
  ])('%s has no message-number', (_, text) => {
    for (const cutting of CUTTINGS) {
      const index = scan(bytes(text), cutting);
      expect(index.hidden).toBe(1);
      expect(index.messages).toBe(text.includes('A: b') ? 1 : 0);
      if (index.messages === 1) expect(index.octets(1)).toBe(14);
      expect(index.totalOctets).toBe(index.messages * 14);
    }
  });

  test.each([
    ['second in the file', mail + pseudo, 2],
    ['without X-IMAP', pseudo.replace('X-IMAP', 'X-Other'), 1],
    ['with another subject', pseudo.replace('INTERNAL DATA\n', 'INTERNAL DATA?\n'), 1],
    ['quoted in a body', `${FROM}A: b\n\nx\n${pseudo.replaceAll('\n\n', '\n')}`, 1],
    ['X-IMAPbase in a real message', `${FROM}X-IMAPbase: 1 2\nSubject: x\n\nbody\n`, 1],
  ])('but not: %s', (_, text, messages) => {
    const index = scan(bytes(text));
    expect([index.hidden, index.messages]).toEqual([0, messages]);
  });
});

describe('size', () => {
  /** Pushes `count` times the same chunk. */
  function fill(scanner: Scanner, chunk: Buffer, count: number) {
    for (let i = 0; i < count; i++) scanner.push(chunk);
  }

  test('a header field, a body line and a hidden field of 64 MiB each hold no memory', () => {
    const chunk = Buffer.alloc(1 << 20, 'x');
    const scanner = new Scanner();
    const parts = [`${FROM}A: `, '\nStatus: ', '\nB: c\n\n', `\n\n${FROM}D: e\n\n`];
    const before = process.memoryUsage().arrayBuffers;
    for (const part of parts) {
      scanner.push(bytes(part));
      if (part !== parts.at(-1)) fill(scanner, chunk, 64);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 << 20);
    const index = scanner.end();
    expect(index.messages).toBe(2);
    expect(index.octets(1)).toBe((64 << 20) * 2 + 'A: \r\nB: c\r\n\r\n\r\n'.length);
    expect(index.octets(2)).toBe('D: e\r\n'.length);
  });

  test('100,000 messages', () => {
    const text = `${FROM}A: b\n\nbody\n\n`;
    const scanner = new Scanner();
    fill(scanner, bytes(text.repeat(1000)), 100);
    const index = scanner.end();
    expect(index.messages).toBe(100_000);
    expect(index.totalOctets).toBe(1_400_000);
    expect(index.extent(100_000).start).toBe(text.length * 99_999);
  });

  test('offsets past 2^31 and 2^32, with messages across both', () => {
    // A chunk without LF costs one memchr: as a sparse file of long lines would.
    const chunk = Buffer.alloc(16 << 20, 'x');
    const scanner = new Scanner();
    const head = `${FROM}A: b\n\n`;
    const edges = [2 ** 31, 2 ** 32];
    let at = 0;
    const fillTo = (offset: number) => {
      while (at < offset) {
        const part = chunk.subarray(0, Math.min(chunk.length, offset - at));
        scanner.push(part);
        at += part.length;
      }
    };
    const say = (text: string) => {
      for (const part of cut(bytes(text), [11])) scanner.push(part);
      at += text.length;
    };
    say(head);
    for (const edge of edges) {
      // This From_ line begins before the edge and ends after it.
      fillTo(edge - 12);
      say(`\n\n${head}`);
    }
    fillTo(2 ** 32 + 2 ** 24);
    const [first, second, third] = extents(scanner.end());
    expect(first).toMatchObject({ start: 0, contentEnd: 2 ** 31 - 11, end: 2 ** 31 - 10 });
    expect(second).toMatchObject({
      start: 2 ** 31 - 10,
      header: 2 ** 31 - 10 + FROM.length,
      end: 2 ** 32 - 10,
    });
    expect(second!.octets).toBe(2 ** 31 - head.length - 2 + 'A: b\r\n\r\n\r\n'.length);
    expect(third).toMatchObject({ start: 2 ** 32 - 10, contentEnd: at, end: at });
    expect(third!.bodyOctets).toBe(at - third!.body + 2);
  });
});
