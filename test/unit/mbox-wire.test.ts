import { describe, expect, test } from 'vitest';
import { FieldNames, HeaderFilter } from '../../lib/mbox/header-filter.js';
import { METADATA_FIELDS } from '../../lib/mbox/metadata.js';
import { WireForm } from '../../lib/mbox/wire.js';
import { cut, encode } from '../support/oracle-tools.js';

const bytes = (text: string) => Buffer.from(text, 'latin1');

describe('TOP', () => {
  const content = 'A: b\nStatus: RO\nC: d\n\none\n\nthree';
  test.each<[number, string]>([
    [0, 'A: b\r\nC: d\r\n\r\n'],
    [1, 'A: b\r\nC: d\r\n\r\none\r\n'],
    [2, 'A: b\r\nC: d\r\n\r\none\r\n\r\n'],
    [3, 'A: b\r\nC: d\r\n\r\none\r\n\r\nthree\r\n'],
    [99, 'A: b\r\nC: d\r\n\r\none\r\n\r\nthree\r\n'],
  ])('%i lines', (bodyLines, expected) => {
    for (const size of [1, 3, 100]) {
      const form = new WireForm({ bodyLines });
      const out: Uint8Array[] = [];
      for (const chunk of cut(bytes(content), [size])) {
        const was = form.done;
        const piece = encode(form, chunk);
        if (was) expect(piece.length).toBe(0);
        out.push(piece);
      }
      out.push(encode(form));
      expect(Buffer.concat(out).toString('latin1')).toBe(expected);
      expect(form.done).toBe(bodyLines <= 3);
    }
  });

  test('of a message without an empty line is all of it', () => {
    const form = new WireForm({ bodyLines: 0 });
    expect(encode(form, bytes('A: b\n')).toString()).toBe('A: b\r\n');
    expect(encode(form).length).toBe(0);
    expect(form.done).toBe(false);
  });
});

describe('the wire form', () => {
  test('of nothing is nothing', () => expect(encode(new WireForm()).length).toBe(0));

  test('goes on where there was no more room, and touches nothing else', () => {
    const memory = Buffer.alloc(64, '#');
    const form = new WireForm();
    const content = bytes('A: b\n\nbody\n\n\n\n');
    expect(form.encode(content, memory.subarray(0, 11))).toBe(10);
    expect(memory.toString('latin1', 0, 10)).toBe('A: b\r\n\r\nbo');
    expect(memory.toString('latin1', 11)).toBe('#'.repeat(53));
    expect(form.taken).toBe(8);
    expect(form.encode(content.subarray(8), memory.subarray(0, 12))).toBe(10);
    expect(memory.toString('latin1', 0, 10)).toBe('dy\r\n\r\n\r\n\r\n');
    expect([form.taken, form.octets, form.finish(memory)]).toEqual([6, 20, 0]);
  });

  test.each([
    ['.\n', '..\r\n'],
    ['a\n.b\n', 'a\r\n..b\r\n'],
    ['\n.\n..\n.a.\n', '\r\n..\r\n...\r\n..a.\r\n'],
    ['a..\n', 'a..\r\n'],
    // A lone CR begins no line.
    ['a\r.b\n', 'a\r.b\r\n'],
    // C16: any octets.
    ['\0\xff.\x85\xe2\x80\xa8\n', '\0\xff.\x85\xe2\x80\xa8\r\n'],
  ])('of %j is byte-stuffed', (body, expected) => {
    for (const size of [1, 2, 3, 100]) {
      const form = new WireForm();
      const out = [...cut(bytes(`\n${body}`), [size])].map(chunk => encode(form, chunk));
      expect(Buffer.concat(out).toString('latin1')).toBe(`\r\n${expected}`);
      expect(form.octets).toBe(2 + expected.length - (expected.match(/^\.\./gm)?.length ?? 0));
    }
  });

  test('takes plain Uint8Arrays and views of larger memory', () => {
    const large = new Uint8Array(bytes('xxA: b\n\nbody\nyy'));
    const sent = encode(new WireForm(), large.subarray(2, 13));
    expect(sent.toString()).toBe('A: b\r\n\r\nbody\r\n');
  });
});

describe('the header filter', () => {
  const filter = (text: string, size: number, fields = METADATA_FIELDS) => {
    const out = { hidden: '', visible: '' };
    const it = new HeaderFilter(fields, (chunk, start, end, hidden) => {
      out[hidden ? 'hidden' : 'visible'] += chunk.toString('latin1', start, end);
    });
    for (const chunk of cut(bytes(text), [size])) {
      if (!it.done) it.push(chunk);
    }
    return { ...out, done: it.done, emptyLine: it.emptyLine };
  };

  test.each<[string, string, string]>([
    ['Status: RO\nA: b\n\n', 'A: b\n', 'Status: RO\n'],
    ['STATUS:RO\nx-keywords: a\n\tb\n c\nA: b\n\n', 'A: b\n', 'STATUS:RO\nx-keywords: a\n\tb\n c\n'],
    ['X-UID: 1\nX-UID: 2\n\n', '', 'X-UID: 1\nX-UID: 2\n'],
    ['X-UIDL: 1\nX-U: 2\nStatuses: 3\nStatu: 4\n\n', 'X-UIDL: 1\nX-U: 2\nStatuses: 3\nStatu: 4\n', ''],
    [' Status: RO\nStatus : RO\nStatus\n\n', ' Status: RO\nStatus : RO\nStatus\n', ''],
    ['Status: \r\nA: b\r\n\r\n', 'A: b\r\n', 'Status: \r\n'],
    ['S\nX\nC\rL: x\n\n', 'S\nX\nC\rL: x\n', ''],
    ['Status\0: RO\n\n', 'Status\0: RO\n', ''],
    ['\n', '', ''],
  ])('%j', (text, visible, hidden) => {
    for (const size of [1, 2, 3, 5, 7, 100]) {
      expect(filter(text, size)).toMatchObject({
        visible,
        hidden,
        done: true,
        emptyLine: text.endsWith('\r\n') ? 2 : 1,
      });
    }
  });

  test('hides what it is told to', () => {
    const fields = new FieldNames(['Subject']);
    expect(filter('Subject: x\nStatus: RO\n\n', 4, fields)).toMatchObject({
      visible: 'Status: RO\n',
      hidden: 'Subject: x\n',
    });
  });
});
