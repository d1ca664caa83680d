/**
 * A ClientHello octet by octet, so that it can say what no TLS library would: RFC 8446 §4.1.2, RFC 5246
 * §7.4.1.2, RFC 6066 §3 (SNI).
 */
import { randomBytes } from 'node:crypto';

export interface HelloOptions {
  /** Of the highest version offered: 0x0300 is SSL 3.0, 0x0304 TLS 1.3. */
  readonly version?: number;
  /** The host_name of SNI; without it, no SNI. */
  readonly name?: Buffer | undefined;
}

const X25519 = 0x001d;
/** Without its curve a certificate of ECDSA is none for TLS 1.2. */
const SECP256R1 = 0x0017;

/** A whole record. With TLS 1.3 the server answers it up to its Finished. */
export function clientHello({ version = 0x0304, name }: HelloOptions = {}): Buffer {
  const suites = version >= 0x0304 ? [0x1301] : [0xc02b, 0xc02f, 0xc009, 0xc013, 0x002f, 0x000a, 0x0005];
  const body = Buffer.concat([
    u16(Math.min(version, 0x0303)),
    randomBytes(32),
    counted8(randomBytes(32)),
    counted16(Buffer.concat(suites.map(u16))),
    counted8(Buffer.of(0)),
    // SSL 3.0 knows no extensions.
    ...(version > 0x0300 ? [counted16(Buffer.concat(extensions(version, name)))] : []),
  ]);
  return record(22, handshake(1, body), Math.min(version, 0x0301));
}

function extensions(version: number, name: Buffer | undefined): Buffer[] {
  const some = [
    extension(10, counted16(Buffer.concat([X25519, SECP256R1].map(u16)))),
    extension(11, counted8(Buffer.of(0))),
    extension(13, counted16(Buffer.concat([0x0403, 0x0804, 0x0401].map(u16)))),
  ];
  if (name !== undefined) some.push(extension(0, counted16(Buffer.concat([Buffer.of(0), counted16(name)]))));
  if (version < 0x0304) return some;
  const share = Buffer.concat([u16(X25519), counted16(randomBytes(32))]);
  return [...some, extension(43, counted8(u16(version))), extension(51, counted16(share))];
}

/** RFC 8446 §5.1. @param type 22 handshake, 21 alert, 20 change_cipher_spec, 23 application_data */
export function record(type: number, content: Buffer, version = 0x0303): Buffer {
  return Buffer.concat([Buffer.of(type), u16(version), counted16(content)]);
}

function handshake(type: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type, 0), counted16(body)]);
}

const extension = (type: number, content: Buffer) => Buffer.concat([u16(type), counted16(content)]);

const u16 = (number: number) => Buffer.of(number >> 8, number & 255);

const counted8 = (content: Buffer) => Buffer.concat([Buffer.of(content.length), content]);

const counted16 = (content: Buffer) => Buffer.concat([u16(content.length), content]);
