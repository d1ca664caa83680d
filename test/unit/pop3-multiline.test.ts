/** Byte-stuffing and the terminator. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BrokenContent, DotStuffer, multiline } from '../../lib/pop3/multiline.js';

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text, 'latin1');
}

async function wire(content: AsyncIterable<Uint8Array>, promised?: number): Promise<string> {
  let all = '';
  for await (const piece of multiline(content, promised)) all += Buffer.from(piece).toString('latin1');
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
    await fc.assert(property, { seed: 1939, numRuns: 300 });
  });

  test('a chunk without such dots is passed on, not copied', () => {
    const stuffer = new DotStuffer();
    const chunk = Buffer.from('a.b\r\nc\r\n');
    expect(stuffer.push(chunk)).toBe(chunk);
    const dotted = Buffer.from('.\r\n');
    expect(stuffer.push(dotted)).not.toBe(dotted);
    expect(dotted.toString()).toBe('.\r\n');
  });

  test('the pieces of a content of dots only stay few and small', () => {
    const stuffer = new DotStuffer();
    expect(stuffer.push(Buffer.from('.\r\n'.repeat(20_000)))).toHaveLength(80_000);
  });

  test('tells how many octets the content had', async () => {
    const pieces = multiline(chunks('.\r\n', '.\r\n'));
    let piece = await pieces.next();
    while (!piece.done) piece = await pieces.next();
    expect(piece.value).toBe(6);
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
      for await (const piece of multiline(chunks(...texts), promised)) seen += Buffer.from(piece).toString();
    };
    await expect(play()).rejects.toThrow(BrokenContent);
    expect(seen).not.toContain('.\r\n');
    if (promised !== undefined) expect(seen.length).toBeLessThanOrEqual(promised);
  });
});
