/**
 * Every mailbox of spool-fixtures against the sidecar beside it. The sidecars were not made by
 * lib/mbox, so here two independent readers of the format meet.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { assignUniqueIds } from '../../lib/mbox/ordinals.js';
import { NotMbox } from '../../lib/mbox/scanner.js';
import { oracle } from '../support/oracle.js';
import { extents, identity, scan, wire } from '../support/oracle-tools.js';

interface Expected {
  start: number;
  header: number;
  body: number;
  contentEnd: number;
  end: number;
  octets: number;
  uniqueId: string;
  subject: string | null;
}
type Sidecar = { hidden: number; messages: Expected[] } | { refused: { offset: number } };

const spool = new URL('../../spool-fixtures/', import.meta.url);
const read = (name: string) => readFileSync(new URL(name, spool));
const all = readdirSync(spool).filter(name => !name.startsWith('.') && name !== 'users');
const names = all.filter(name => !name.endsWith('.json'));

/** The unfolded text of the first Subject field, as it stands there. */
function subjectOf(file: Buffer, start: number, end: number): string | null {
  const header = file
    .toString('latin1', start, end)
    .replace(/\r\n/g, '\n')
    .replace(/\n([ \t])/g, '$1');
  return /^subject:(.*)$/im.exec(header)?.[1]?.trim() ?? null;
}

test('every mailbox has a sidecar, and every sidecar a mailbox', () => {
  expect(all.sort()).toEqual(names.flatMap(name => [name, `${name}.json`]).sort());
  expect(names.length).toBeGreaterThanOrEqual(16);
});

describe.each(names)('%s', name => {
  const file = read(name);
  const sidecar = JSON.parse(read(`${name}.json`).toString()) as Sidecar;

  if ('refused' in sidecar) {
    test.each([1, 7, 65536])('is refused, in chunks of %i', size => {
      const refused = expect(() => scan(file, [size]));
      refused.toThrow(NotMbox);
      refused.toThrow(expect.objectContaining(sidecar.refused));
      expect(oracle(file)).toEqual({ refused: sidecar.refused.offset });
    });
    return;
  }

  test.each([1, 7, 64, 4096, 65536])('extents, octets and unique-ids, in chunks of %i', size => {
    const index = scan(file, [size]);
    const found = extents(index);
    const ids = assignUniqueIds(
      found.map(e => identity(file, e, [size])),
      new Map(),
    );
    expect(index.hidden).toBe(sidecar.hidden);
    expect(
      found.map(({ start, header, body, contentEnd, end, octets }, i) => {
        const subject = subjectOf(file, header, body);
        return { start, header, body, contentEnd, end, octets, uniqueId: ids[i], subject };
      }),
    ).toEqual(sidecar.messages);
    for (const id of ids) expect(id).toMatch(/^[\x21-\x7e]{1,70}$/);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each([1, 7, 65536])('the wire form, in chunks of %i', size => {
    const expected = oracle(file);
    const messages = 'messages' in expected ? expected.messages : [];
    extents(scan(file)).forEach((e, i) => {
      const sent = wire(file, e, [size]);
      expect(sent.length).toBe(e.octets);
      expect(sent.toString('latin1') === messages[i]?.wire).toBe(true);
    });
  });
});
