/** PROXY headers: what is one, what is none, and that no octets and no cutting of them give a false address. */
import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BadProxyHeader,
  type ProxyHeader,
  parseProxyHeader,
  V2_LONGEST,
} from '../../lib/server/proxy-protocol.js';
import { extension, header2, tcp4, tcp6 } from '../support/proxy-header.js';
import { runs } from '../support/runs.js';

const latin1 = (text: string) => Buffer.from(text, 'latin1');
const LONGEST6 = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';

describe('version 1', () => {
  test.each([
    ['PROXY TCP4 192.0.2.7 198.51.100.1 50000 110\r\n', '192.0.2.7', 50_000],
    ['PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n', '255.255.255.255', 65_535],
    ['PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n', '0.0.0.0', 0],
    [`PROXY TCP6 ${LONGEST6} ${LONGEST6} 65535 65535\r\n`, LONGEST6, 65_535],
    ['PROXY TCP6 2001:DB8:0:0::7 ::1 50000 110\r\n', '2001:db8::7', 50_000],
    ['PROXY TCP6 ::ffff:192.0.2.7 ::1 50000 110\r\n', '192.0.2.7', 50_000],
  ])('%j', (text, address, port) => {
    const { length } = text;
    expect(parseProxyHeader(latin1(text))).toEqual({ length, client: { address, port } });
    // What follows is the client's.
    expect(parseProxyHeader(latin1(`${text}CAPA\r\n`))).toEqual({ length, client: { address, port } });
  });

  test.each([
    ['PROXY UNKNOWN\r\n'],
    ['PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n'],
    [`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`],
  ])('%j: nobody', text => {
    expect(text.length).toBeLessThanOrEqual(107);
    expect(parseProxyHeader(latin1(text))).toEqual({ length: text.length, client: undefined });
  });

  test.each([
    [`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`],
    [`PROXY UNKNOWN ${'x'.repeat(93)}`],
    ['PROXY UNKNOWN\n'],
    ['PROXY UNKNOWN\r\r\n'],
    ['PROXY UNKNOWNX\r\n'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 50000 110\n'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 50000 110 \r\n'],
    ['PROXY TCP4 192.0.2.7  198.51.100.1 50000 110\r\n'],
    ['PROXY  TCP4 192.0.2.7 198.51.100.1 50000 110\r\n'],
    ['PROXY\tTCP4 192.0.2.7 198.51.100.1 50000 110\r\n'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 50000 110 9\r\n'],
    ['PROXY TCP4 192.0.2.07 198.51.100.1 50000 110\r\n'],
    ['PROXY TCP4 192.0.2.256 198.51.100.1 50000 110\r\n'],
    ['PROXY TCP4 192.0.2 198.51.100.1 50000 110\r\n'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 050000 110\r\n'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 65536 110\r\n'],
    ['PROXY TCP4 192.0.2.7 198.51.100.1 -1 110\r\n'],
    ['PROXY TCP4 192.0.2.7 ::1 50000 110\r\n'],
    ['PROXY TCP4 ::1 192.0.2.7 50000 110\r\n'],
    ['PROXY TCP6 192.0.2.7 198.51.100.1 50000 110\r\n'],
    ['PROXY TCP6 fe80::1%eth0 ::1 50000 110\r\n'],
    ['PROXY TCP6 1::2::3 ::1 50000 110\r\n'],
    ['PROXY UDP4 192.0.2.7 198.51.100.1 50000 110\r\n'],
    ['PROXY tcp4 192.0.2.7 198.51.100.1 50000 110\r\n'],
    ['PROXY \r\n'],
    ['proxy TCP4 192.0.2.7 198.51.100.1 50000 110\r\n'],
    ['CAPA\r\n'],
    ['PROXX'],
    ['\x16\x03\x01'],
  ])('none: %j', text => {
    expect(() => parseProxyHeader(latin1(text))).toThrow(BadProxyHeader);
  });
});

describe('version 2', () => {
  const client = { address: '203.0.113.7', port: 50_000 };

  test('addresses', () => {
    expect(parseProxyHeader(header2())).toEqual({ length: 28, client });
    const block = tcp6([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    expect(parseProxyHeader(header2({ familyAndTransport: 0x21, block }))).toEqual({
      length: 52,
      client: { address: '2001:db8::7', port: 50_000 },
    });
    const mapped = tcp6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7]);
    expect(parseProxyHeader(header2({ familyAndTransport: 0x21, block: mapped }))?.client).toEqual(client);
  });

  test.each([
    ['LOCAL without anything', { versionAndCommand: 0x20, familyAndTransport: 0, block: Buffer.alloc(0) }],
    ['LOCAL with an address', { versionAndCommand: 0x20 }],
    [
      'LOCAL with anything',
      { versionAndCommand: 0x20, familyAndTransport: 0xff, block: Buffer.alloc(5, 255) },
    ],
    ['no family', { familyAndTransport: 0, block: Buffer.alloc(0) }],
    ['no transport', { familyAndTransport: 0x10 }],
    ['AF_UNIX', { familyAndTransport: 0x31, block: Buffer.alloc(216, 'x') }],
  ])('nobody: %s', (_, fields) => {
    const header = header2(fields);
    const followed = Buffer.concat([header, latin1('CAPA\r\n')]);
    expect(parseProxyHeader(followed)).toEqual({ length: header.length, client: undefined });
  });

  test.each([
    ['version 1 in it', { versionAndCommand: 0x11 }],
    ['version 3', { versionAndCommand: 0x31 }],
    ['command 2', { versionAndCommand: 0x22 }],
    ['family 4', { familyAndTransport: 0x41 }],
    ['transport 3', { familyAndTransport: 0x13 }],
    ['datagrams', { familyAndTransport: 0x12 }],
    ['too short', { block: tcp4().subarray(0, 11) }],
    ['IPv6 in the length of IPv4', { familyAndTransport: 0x21 }],
    ['too long', { length: V2_LONGEST - 15 }],
    ['half an extension', { extensions: [Buffer.from([4, 0])] }],
    ['an extension beyond the end', { extensions: [extension(4, Buffer.alloc(3), 4)] }],
    ['a wrong checksum', { extensions: [extension(3, Buffer.alloc(4, 1))] }],
    ['a short checksum', { extensions: [extension(3, Buffer.alloc(3))] }],
  ])('none: %s', (_, fields) => {
    expect(() => parseProxyHeader(header2(fields))).toThrow(BadProxyHeader);
  });

  test('extensions are passed over, up to the longest header', () => {
    const most = V2_LONGEST - 16 - 12 - 3;
    const extensions = [extension(0x20, Buffer.alloc(most))];
    expect(parseProxyHeader(header2({ extensions }))).toEqual({ length: V2_LONGEST, client });
    const odd = [extension(2, latin1('mail.example.org')), extension(0xea, Buffer.alloc(0))];
    expect(parseProxyHeader(header2({ extensions: odd }))?.client).toEqual(client);
  });

  test('a right checksum (computed by HAProxy 2.6, send-proxy-v2 with proxy-v2-options crc32c)', () => {
    const header = Buffer.from(HAPROXY_WITH_CRC32C, 'hex');
    expect(parseProxyHeader(header)).toMatchObject({
      length: header.length,
      client: { address: '127.0.0.1' },
    });
    for (let i = 16; i < header.length; i++) {
      if (i === 28) continue; // The type: another one is no checksum.
      const wrong = Buffer.from(header);
      wrong[i]! ^= 0x40;
      expect(() => parseProxyHeader(wrong), `octet ${i}`).toThrow(BadProxyHeader);
    }
  });
});

const HAPROXY_WITH_CRC32C = '0d0a0d0a000d0a515549540a211100137f0000017f000001826655e6030004f1931697';

/** What became of octets: the header, `more`, or `bad`. */
function outcome(octets: Uint8Array): ProxyHeader | 'more' | 'bad' {
  try {
    return parseProxyHeader(octets) ?? 'more';
  } catch (error) {
    if (error instanceof BadProxyHeader) return 'bad';
    throw error;
  }
}

const octet = fc.integer({ min: 0, max: 255 });
const ipv4 = fc.ipV4();
const port = fc.integer({ min: 0, max: 65_535 });
const good = fc.oneof(
  fc.tuple(ipv4, ipv4, port, port).map(fields => latin1(`PROXY TCP4 ${fields.join(' ')}\r\n`)),
  fc.tuple(fc.ipV6(), fc.ipV6(), port, port).map(fields => latin1(`PROXY TCP6 ${fields.join(' ')}\r\n`)),
  fc
    .tuple(ipv4, port, fc.array(fc.tuple(octet, fc.uint8Array({ maxLength: 40 })), { maxLength: 4 }))
    .map(([address, from, extensions]) =>
      header2({
        block: tcp4(address, from),
        extensions: extensions.map(([type, value]) => extension(type === 3 ? 4 : type, value)),
      }),
    ),
);
/** Headers with something changed, added or lost, and anything at all. */
const anything = fc.oneof(
  good,
  fc.uint8Array({ maxLength: 300 }),
  fc.tuple(good, fc.nat(), octet).map(([header, at, value]) => {
    const changed = Buffer.from(header);
    changed[at % changed.length] = value;
    return changed;
  }),
  fc.tuple(good, fc.nat()).map(([header, at]) => header.subarray(0, at % header.length)),
);

test('a header is the same with anything behind it, and no beginning of it is one, or bad', () => {
  fc.assert(
    fc.property(good, fc.uint8Array({ maxLength: 50 }), (header, behind) => {
      const whole = outcome(header);
      expect(whole).toMatchObject({ length: header.length, client: { address: expect.any(String) } });
      expect(outcome(Buffer.concat([header, behind]))).toEqual(whole);
      for (let end = 0; end < header.length; end++) expect(outcome(header.subarray(0, end))).toBe('more');
    }),
    runs(20101029, 150),
  );
});

test('any octets: an answer; once it is one it stays, and an address is an address', () => {
  fc.assert(
    fc.property(anything, octets => {
      const last = outcome(octets);
      if (typeof last === 'object') {
        expect(last.length).toBeLessThanOrEqual(octets.length);
        if (last.client) expect(isIP(last.client.address)).not.toBe(0);
      }
      let decided: ReturnType<typeof outcome> = 'more';
      for (let end = 0; end <= octets.length; end++) {
        const now = outcome(octets.subarray(0, end));
        if (decided !== 'more') expect(now).toEqual(decided);
        decided = now;
      }
      expect(last).toEqual(decided);
    }),
    runs(20101029, 400),
  );
});
