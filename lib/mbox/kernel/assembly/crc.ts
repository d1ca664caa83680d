/**
 * CRC-32 as zlib has it, sixteen octets a turn: for headers, which are too short for a native call to pay.
 * The twin is `crc32` of node:zlib.
 */
import { CRC_TABLES } from './layout';

/** The polynomial of zlib, PNG and Ethernet, lowest bit first. */
const POLYNOMIAL: u32 = 0xedb88320;

/** Octets that one table, of 256 words, takes. */
const TABLE: usize = 1024;

/** Table n tells what an octet adds that n more octets follow. */
function fillTables(): void {
  for (let octet: u32 = 0; octet < 256; octet++) {
    let crc = octet;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? POLYNOMIAL ^ (crc >>> 1) : crc >>> 1;
    store<u32>(CRC_TABLES + ((<usize>octet) << 2), crc);
  }
  for (let at = CRC_TABLES; at < CRC_TABLES + 15 * TABLE; at += 4) {
    const crc = load<u32>(at);
    store<u32>(at + TABLE, (crc >>> 8) ^ load<u32>(CRC_TABLES + ((<usize>(crc & 0xff)) << 2)));
  }
}
fillTables();

/** The four lowest octets of `word`, of which the last is followed by `after` more. */
function four(word: u32, after: usize): u32 {
  const tables = CRC_TABLES + after * TABLE;
  return (
    load<u32>(tables + 3 * TABLE + ((<usize>(word & 0xff)) << 2)) ^
    load<u32>(tables + 2 * TABLE + ((<usize>((word >>> 8) & 0xff)) << 2)) ^
    load<u32>(tables + TABLE + ((<usize>((word >>> 16) & 0xff)) << 2)) ^
    load<u32>(tables + ((<usize>(word >>> 24)) << 2))
  );
}

/** The CRC-32 of what had the CRC-32 `value`, and [start, end) after it. */
export function crc32(start: usize, end: usize, value: u32): u32 {
  let crc = ~value;
  let at = start;
  for (; at + 16 <= end; at += 16) {
    crc =
      four(load<u32>(at) ^ crc, 12) ^
      four(load<u32>(at, 4), 8) ^
      four(load<u32>(at, 8), 4) ^
      four(load<u32>(at, 12), 0);
  }
  for (; at + 4 <= end; at += 4) crc = four(load<u32>(at) ^ crc, 0);
  for (; at < end; at++) {
    crc = (crc >>> 8) ^ load<u32>(CRC_TABLES + ((<usize>((crc ^ load<u8>(at)) & 0xff)) << 2));
  }
  return ~crc;
}
