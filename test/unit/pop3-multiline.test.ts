/** The terminator, and what must come before it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BrokenContent, LEAST_ROOM, Multiline } from '../../lib/pop3/multiline.js';
import type { MessageReader } from '../../lib/pop3/ports.js';
import { PieceReader } from '../support/message-reader.js';
import { runs } from '../support/runs.js';

function chunks(...texts: string[]): MessageReader {
  // A read of nothing is the end; pieces of nothing are none.
  return new PieceReader(texts.filter(text => text !== '').map(text => Buffer.from(text, 'latin1')));
}

/** What comes, piece by piece, each in a room of its own. */
async function* pieces(body: Multiline, room = LEAST_ROOM): AsyncGenerator<string> {
  while (!body.done) {
    const into = Buffer.alloc(room, '#');
    const count = await body.read(into);
    yield into.toString('latin1', 0, count);
  }
}

async function wire(content: MessageReader, promised?: number, room?: number): Promise<string> {
  let all = '';
  for await (const piece of pieces(new Multiline(content, promised), room)) all += piece;
  return all;
}

/** What a client does. RFC 1939 §3. */
function unstuff(reply: string): string {
  const lines = reply.split('\r\n');
  expect(lines.splice(-2)).toEqual(['.', '']);
  return lines.map(line => `${line.startsWith('.') ? line.slice(1) : line}\r\n`).join('');
}

describe('multiline', () => {
  test.each([
    [[''], '.\r\n'],
    [[], '.\r\n'],
    [['a\r\n'], 'a\r\n.\r\n'],
    [['.\r\n'], '..\r\n.\r\n'],
    [['.', '\r\n'], '..\r\n.\r\n'],
    [['a\r', '\n', '.b\r\n'], 'a\r\n..b\r\n.\r\n'],
    [['a\r\n', '', '.\r\n'], 'a\r\n..\r\n.\r\n'],
    [['\r\n.\r\n..\r\n.a.\r\n'], '\r\n..\r\n...\r\n..a.\r\n.\r\n'],
    [['a.', '.\r\n'], 'a..\r\n.\r\n'],
    // A lone CR begins no line.
    [['a\r.b\r\n'], 'a\r.b\r\n.\r\n'],
    // C16: any octets.
    [['\0\xff.\x85\xe2\x80\xa8\r\n'], '\0\xff.\x85\xe2\x80\xa8\r\n.\r\n'],
  ])('%j', async (texts, expected) => {
    expect(await wire(chunks(...texts))).toBe(expected);
  });

  test('un-stuffing gives the content back, however it was cut', async () => {
    const line = fc.stringMatching(/^[.a\r\0]{0,5}$/).map(text => `${text.replace(/\r$/, '')}\r\n`);
    const property = fc.asyncProperty(
      fc.array(line, { maxLength: 20 }),
      fc.array(fc.nat({ max: 9 }), { minLength: 1 }),
      async (lines, sizes) => {
        const content = lines.join('');
        const pieces: string[] = [];
        for (let at = 0, i = 0; at < content.length; i++) {
          const size = (sizes[i % sizes.length] ?? 0) + (i % sizes.length === 0 ? 1 : 0);
          pieces.push(content.slice(at, at + size));
          at += size;
        }
        expect(unstuff(await wire(chunks(...pieces), content.length))).toBe(content);
      },
    );
    await fc.assert(property, runs(1939, 300));
  });

  test('content of dots only fills the room it was told to leave, and no more', async () => {
    const lines = 20_000;
    const reply = await wire(chunks('.\r\n'.repeat(lines)), 3 * lines);
    expect(reply).toBe(`${'..\r\n'.repeat(lines)}.\r\n`);
    for (const extra of [1, 2, 3, 4, 5]) {
      const text = `${'.'.repeat(extra)}\r\n${'.\r\n'.repeat(2000)}`;
      const room = LEAST_ROOM + extra;
      expect(unstuff(await wire(chunks(text), undefined, room))).toBe(text);
    }
  });

  test('a maildrop that need not be waited for is not', () => {
    let left = 3;
    const at = {
      octets: 0,
      read(into: Buffer) {
        if (left-- === 0) return 0;
        this.octets += 3;
        return into.write('a\r\n');
      },
    };
    const body = new Multiline(at, 9);
    const into = Buffer.alloc(2 * LEAST_ROOM);
    expect(body.read(into)).toBe(12);
    expect(into.toString('latin1', 0, 12)).toBe('a\r\na\r\na\r\n.\r\n');
    expect([body.done, body.octets]).toEqual([true, 9]);
  });

  test('tells how many octets the content had', async () => {
    const body = new Multiline(chunks('.\r\n', '.\r\n'));
    for await (const _ of pieces(body));
    expect(body.octets).toBe(6);
  });

  test.each([
    [['abc\r\n'], 4],
    [['abc\r\n'], 6],
    [['ab\r\n', 'c\r\n'], 4],
    [[], 1],
    [['abc'], undefined],
    [['abc\n'], undefined],
    [['abc\r', 'x\n'], undefined],
  ])('%j as %j octets never gets a terminator', async (texts, promised) => {
    let seen = '';
    const play = async () => {
      for await (const piece of pieces(new Multiline(chunks(...texts), promised))) seen += piece;
    };
    await expect(play()).rejects.toThrow(BrokenContent);
    expect(seen).not.toContain('.\r\n');
    if (promised !== undefined) expect(seen.length).toBeLessThanOrEqual(promised);
  });
});
