/**
 * Random mailboxes put together from nasty pieces, against the slow oracle: extents, octets, wire form
 * and identities, for every cutting into chunks.
 */
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NotMbox } from '../../lib/mbox/scanner.js';
import { cutting, mailbox } from '../support/nasty-mailboxes.js';
import { oracle } from '../support/oracle.js';
import { type Cutting, extents, identity, scan, wire } from '../support/oracle-tools.js';
import { runs } from '../support/runs.js';

const SEED = 20020512;
/** The index as plain data, or the offset it was refused at. */
function indexed(file: Buffer, pieces: Cutting) {
  try {
    const index = scan(file, pieces);
    return { messages: extents(index), hidden: index.hidden, size: index.size, total: index.totalOctets };
  } catch (error) {
    if (!(error instanceof NotMbox)) throw error;
    return { refused: error.offset };
  }
}

test('the index is the one of the oracle, for every cutting', () => {
  fc.assert(
    fc.property(mailbox, cutting, (file, pieces) => {
      const expected = oracle(file);
      const got = indexed(file, pieces);
      if ('refused' in expected) {
        expect(got).toEqual(expected);
        return;
      }
      expect(got).toEqual({
        messages: expected.messages.map(({ wire, identity, ...extent }) => ({
          ...extent,
          fromCrc: crc32(file.subarray(extent.start, extent.header)),
          headerCrc: crc32(file.subarray(extent.start, extent.body)),
        })),
        hidden: expected.hidden,
        size: file.length,
        total: expected.messages.reduce((sum, m) => sum + m.octets, 0),
      });
    }),
    runs(SEED, 3000),
  );
});

test('the wire form is the one of the oracle and as long as the index says, for every cutting', () => {
  fc.assert(
    fc.property(mailbox, cutting, (file, pieces) => {
      const expected = oracle(file);
      if ('refused' in expected) return;
      const index = scan(file);
      expected.messages.forEach((m, i) => {
        const sent = wire(file, index.extent(i + 1), pieces);
        expect(sent.toString('latin1')).toBe(m.wire);
        expect(sent.length).toBe(index.octets(i + 1));
      });
    }),
    runs(SEED, 2000),
  );
});

test('TOP is the header, the empty line and the first lines of RETR, for every cutting', () => {
  fc.assert(
    fc.property(mailbox, cutting, fc.integer({ min: 0, max: 6 }), (file, pieces, lines) => {
      const expected = oracle(file);
      if ('refused' in expected) return;
      const index = scan(file);
      expected.messages.forEach((m, i) => {
        const all: string[] = m.wire.match(/[^\n]*\n/g) ?? [];
        const empty = all.indexOf('\r\n');
        const top = empty < 0 ? all : all.slice(0, empty + 1 + lines);
        expect(wire(file, index.extent(i + 1), pieces, lines).toString('latin1')).toBe(top.join(''));
      });
    }),
    runs(SEED, 2000),
  );
});

test('an identity is the one of the oracle, for every cutting', () => {
  fc.assert(
    fc.property(mailbox, cutting, (file, pieces) => {
      const expected = oracle(file);
      if ('refused' in expected) return;
      const index = scan(file);
      const got = expected.messages.map((_, i) => identity(file, index.extent(i + 1), pieces));
      expect(got).toEqual(expected.messages.map(m => m.identity));
    }),
    runs(SEED, 2000),
  );
});

test('without CRs the wire form is the content without hidden fields', () => {
  const plain = mailbox.map(file => Buffer.from(file.toString('latin1').replaceAll('\r', ''), 'latin1'));
  fc.assert(
    fc.property(plain, cutting, (file, pieces) => {
      const { refused } = oracle(file) as { refused?: number };
      if (refused !== undefined) return;
      for (const e of extents(scan(file, pieces))) {
        const content = file.toString('latin1', e.header, e.contentEnd);
        const length = e.body - e.header;
        const head = content
          .slice(0, length)
          .replace(
            /^(status|x-status|x-keywords|x-uid|x-imap|x-imapbase|content-length):.*(\n|$)([ \t].*(\n|$))*/gim,
            '',
          );
        const raw = head + content.slice(length);
        const sent = wire(file, e, pieces).toString('latin1').replaceAll('\r\n', '\n');
        expect(sent).toBe(raw === '' || raw.endsWith('\n') ? raw : `${raw}\n`);
      }
    }),
    runs(SEED, 1000),
  );
});
