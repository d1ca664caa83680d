/** PROXY headers of version 2 (HAProxy's doc/proxy-protocol.txt §2.2), right or wrong in any field. */
import { SIGNATURE } from '../../lib/server/proxy-protocol.js';

export interface Header2 {
  readonly versionAndCommand?: number;
  readonly familyAndTransport?: number;
  readonly block?: Uint8Array;
  readonly extensions?: readonly Uint8Array[];
  /** What is said of the length instead of the truth. */
  readonly length?: number;
}

export function header2(fields: Header2 = {}): Buffer {
  const { versionAndCommand = 0x21, familyAndTransport = 0x11, block = tcp4(), extensions = [] } = fields;
  const rest = Buffer.concat([block, ...extensions]);
  const fixed = Buffer.from([versionAndCommand, familyAndTransport, 0, 0]);
  fixed.writeUInt16BE(fields.length ?? rest.length, 2);
  return Buffer.concat([SIGNATURE, fixed, rest]);
}

/** The address block of IPv4. */
export function tcp4(source = '203.0.113.7', port = 50_000): Buffer {
  const octets = [...source.split('.'), 198, 51, 100, 1].map(Number);
  return Buffer.from([...octets, port >> 8, port & 0xff, 0, 110]);
}

/** The address block of IPv6. @param source sixteen octets */
export function tcp6(source: readonly number[], port = 50_000): Buffer {
  return Buffer.from([...source, ...Array<number>(16).fill(1), port >> 8, port & 0xff, 0, 110]);
}

/** An extension. @param length what is said of it instead of the truth */
export function extension(type: number, value: Uint8Array, length = value.length): Buffer {
  return Buffer.concat([Buffer.from([type, length >> 8, length & 0xff]), value]);
}
