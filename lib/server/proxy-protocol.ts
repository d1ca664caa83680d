/**
 * The header of the PROXY protocol, versions 1 and 2, as a receiver reads it: HAProxy's
 * doc/proxy-protocol.txt §2. Pure: octets in, the client's address out.
 *
 * Invariants: whatever the octets, and however they were cut, the answer is the same header, or that it is
 * none; an address is given only for a header that is whole and right in every field; no octet behind the
 * header is looked at or counted.
 */
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import type { Peer } from '../pop3/ports.js';
import { plainAddress } from './peer.js';

/** What a trusted proxy sent is no header. `message` is for the log. */
export class BadProxyHeader extends Error {
  override readonly name = 'BadProxyHeader';
}

export interface ProxyHeader {
  /** Octets of the header; what follows is the client's. */
  readonly length: number;
  /** Undefined when the proxy speaks for itself (a health check), or does not know: then it is the client. */
  readonly client: Peer | undefined;
}

/** §2.2: what version 2 begins with. No line of POP3, and no TLS, looks like it. */
export const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V1_BEGINS = Buffer.from('PROXY ', 'latin1');
/** §2.1: the longest header of version 1, CRLF included. */
const V1_LONGEST = 107;
const V2_FIXED = 16;
/** The longest header of version 2 we take; 64 KiB would be possible. Only certificates make it long. */
export const V2_LONGEST = 8 * 1024;
const CR = 0x0d;
const LF = 0x0a;
const TLV_CRC32C = 3;
/** Octets of the address block by family (high nibble of octet 13): none, IPv4, IPv6, AF_UNIX. */
const BLOCK = [0, 12, 36, 216] as const;
const STREAM = 1;
const DATAGRAM = 2;

/**
 * @param octets all that has come so far, from the first octet of the connection on
 * @returns undefined as long as it may become a header
 * @throws BadProxyHeader when it cannot
 */
export function parseProxyHeader(octets: Uint8Array): ProxyHeader | undefined {
  const data = Buffer.from(octets.buffer, octets.byteOffset, octets.length);
  if (begins(data, V1_BEGINS)) return data.length > V1_BEGINS.length ? version1(data) : undefined;
  if (begins(data, SIGNATURE)) return data.length >= V2_FIXED ? version2(data) : undefined;
  throw new BadProxyHeader('no PROXY header');
}

/** Whether one is the beginning of the other. */
function begins(data: Buffer, what: Buffer): boolean {
  const length = Math.min(data.length, what.length);
  return data.compare(what, 0, length, 0, length) === 0;
}

/** §2.1: `PROXY TCP4 192.0.2.7 198.51.100.1 50000 110` CRLF. */
function version1(data: Buffer): ProxyHeader | undefined {
  const line = data.subarray(0, V1_LONGEST);
  const end = line.findIndex(octet => octet === CR || octet === LF);
  if (end === -1 || end === line.length - 1) {
    if (line.length === V1_LONGEST) throw new BadProxyHeader('version 1: no end of line');
    if (line[end] === LF) throw new BadProxyHeader('version 1: not ended by CRLF');
    return undefined;
  }
  if (line[end] !== CR || line[end + 1] !== LF) throw new BadProxyHeader('version 1: not ended by CRLF');
  const length = end + 2;
  const [, family, ...fields] = line.toString('latin1', 0, end).split(' ');
  if (family === 'UNKNOWN') return { length, client: undefined };
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isPlainIPv6 : undefined;
  if (isAddress === undefined) throw new BadProxyHeader('version 1: not TCP4, TCP6 or UNKNOWN');
  const [source = '', destination = '', port = '', toPort = ''] = fields;
  if (fields.length !== 4) throw new BadProxyHeader('version 1: wrong number of fields');
  if (!isAddress(source) || !isAddress(destination)) throw new BadProxyHeader('version 1: not an address');
  if (!isPort(port) || !isPort(toPort)) throw new BadProxyHeader('version 1: not a port');
  return { length, client: { address: written(source), port: Number(port) } };
}

/** Without a zone, which would be a name of the proxy's host. */
function isPlainIPv6(text: string): boolean {
  return /^[0-9A-Fa-f:.]{2,45}$/.test(text) && isIPv6(text);
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9][0-9]{0,4})$/.test(text) && Number(text) <= 65535;
}

/** As getpeername(2) would have it: one spelling for an address, and IPv4 as IPv4. */
function written(address: string): string {
  if (isIPv4(address)) return address;
  return plainAddress(new SocketAddress({ address, family: 'ipv6' }).address);
}

/** §2.2: signature, version and command, family and transport, length; addresses; TLVs. */
function version2(data: Buffer): ProxyHeader | undefined {
  const [versionAndCommand = 0, familyAndTransport = 0] = data.subarray(SIGNATURE.length);
  const length = V2_FIXED + data.readUInt16BE(SIGNATURE.length + 2);
  const command = versionAndCommand & 0x0f;
  if (versionAndCommand >> 4 !== 2 || command > 1) throw new BadProxyHeader('version 2: unknown command');
  if (length > V2_LONGEST) throw new BadProxyHeader(`version 2: ${length} octets are too many`);
  if (data.length < length) return undefined;
  if (command === 0) return { length, client: undefined }; // LOCAL: nothing in it is to be looked at.

  const [family, transport] = [familyAndTransport >> 4, familyAndTransport & 0x0f];
  const size = BLOCK[family];
  if (size === undefined || transport >= DATAGRAM) throw new BadProxyHeader('version 2: unknown family');
  if (length < V2_FIXED + size) throw new BadProxyHeader('version 2: too short for its addresses');
  checkExtensions(data.subarray(0, length), V2_FIXED + size);
  const block = data.subarray(V2_FIXED, V2_FIXED + size);
  if (transport !== STREAM || family === 0 || family === 3) return { length, client: undefined };
  if (family === 1)
    return { length, client: { address: block.subarray(0, 4).join('.'), port: block.readUInt16BE(8) } };
  const groups = Array.from({ length: 8 }, (_, i) => block.readUInt16BE(2 * i).toString(16));
  return { length, client: { address: written(groups.join(':')), port: block.readUInt16BE(32) } };
}

/** §2.2: type (1), length (2), value; all within the header. Of them only the checksum is used. */
function checkExtensions(header: Buffer, start: number): void {
  for (let at = start; at < header.length; ) {
    const value = at + 3;
    const end = value + (value <= header.length ? header.readUInt16BE(at + 1) : 0);
    if (value > header.length || end > header.length) {
      throw new BadProxyHeader('version 2: an extension beyond the end');
    }
    if (header[at] === TLV_CRC32C) {
      if (end - value !== 4 || header.readUInt32BE(value) !== checksum(header, value)) {
        throw new BadProxyHeader('version 2: wrong checksum');
      }
    }
    at = end;
  }
}

/** CRC32c (RFC 4960 appendix B) of a header, its own four octets taken as zero. */
function checksum(header: Buffer, own: number): number {
  let crc = 0xffffffff;
  for (const [i, octet] of header.entries()) {
    crc ^= i >= own && i < own + 4 ? 0 : octet;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
