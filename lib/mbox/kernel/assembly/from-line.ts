/**
 * Whether a From_ line is of the form that almost all have, with the date of asctime(3): `Sat Jan  3 01:05:34
 * 1996`. The twin, `isFromLine`, takes these and others.
 */
import { afterLine } from './cut-lines';

const LF: u8 = 10;
const CR: u8 = 13;
const SPACE: u8 = 0x20;
/** `From` as a little-endian word. */
const FROM: u32 = 0x6d6f7246;
/** Octets of a From_ line without its line end, see `MAX_FROM_LINE`. */
const LONGEST: usize = 2048;
/** Octets of the date. */
const DATE: usize = 24;

/** Whether the five octets at `at` are `From `. */
export function isFrom(at: usize): bool {
  return load<u32>(at) === FROM && load<u8>(at, 4) === SPACE;
}

/** @returns what follows the From_ line at `start`; 0 if it is none of that form, or has no end before `end` */
export function afterFromLine(start: usize, end: usize): usize {
  if (start + 5 + DATE >= end || !isFrom(start)) return 0;
  const most = min(end, start + LONGEST + 2);
  const lf = afterLine(start + 5, most) - 1;
  if (load<u8>(lf) !== LF) return 0;
  const last = load<u8>(lf - 1) === CR ? lf - 1 : lf;
  const date = last - DATE;
  if (date < start + 5 || last - start > LONGEST || load<u8>(date - 1) !== SPACE || !isDate(date)) return 0;
  return lf + 1;
}

function isDate(at: usize): bool {
  return (
    isDay(word(at)) &&
    isMonth(word(at + 4)) &&
    isDayOfMonth(load<u8>(at, 8), load<u8>(at, 9)) &&
    load<u8>(at, 10) === SPACE &&
    isTwo(at + 11, 0x32) &&
    load<u8>(at, 13) === 0x3a &&
    isTwo(at + 14, 0x35) &&
    load<u8>(at, 16) === 0x3a &&
    isTwo(at + 17, 0x36) &&
    load<u8>(at, 19) === SPACE &&
    isTwo(at + 20, 0x39) &&
    isTwo(at + 22, 0x39)
  );
}

/** Two digits, the first up to `most`. */
function isTwo(at: usize, most: u8): bool {
  const first = load<u8>(at);
  const second = load<u8>(at, 1);
  return first >= 0x30 && first <= most && second >= 0x30 && second <= 0x39;
}

/** ` 1` to ` 9`, `01` to `31`. */
function isDayOfMonth(first: u8, second: u8): bool {
  if (first === 0x33) return second === 0x30 || second === 0x31;
  if (second < 0x30 || second > 0x39) return false;
  return first === 0x31 || first === 0x32 || ((first === SPACE || first === 0x30) && second !== 0x30);
}

/** Three letters and the blank after them. */
function word(at: usize): u32 {
  return load<u32>(at);
}

/** A word of three letters and a blank as it is in memory. */
function spelled(a: u32, b: u32, c: u32): u32 {
  return a | (b << 8) | (c << 16) | (0x20 << 24);
}

function isDay(name: u32): bool {
  return (
    name === spelled(0x4d, 0x6f, 0x6e) || // Mon
    name === spelled(0x54, 0x75, 0x65) || // Tue
    name === spelled(0x57, 0x65, 0x64) || // Wed
    name === spelled(0x54, 0x68, 0x75) || // Thu
    name === spelled(0x46, 0x72, 0x69) || // Fri
    name === spelled(0x53, 0x61, 0x74) || // Sat
    name === spelled(0x53, 0x75, 0x6e) // Sun
  );
}

function isMonth(name: u32): bool {
  return (
    name === spelled(0x4a, 0x61, 0x6e) || // Jan
    name === spelled(0x46, 0x65, 0x62) || // Feb
    name === spelled(0x4d, 0x61, 0x72) || // Mar
    name === spelled(0x41, 0x70, 0x72) || // Apr
    name === spelled(0x4d, 0x61, 0x79) || // May
    name === spelled(0x4a, 0x75, 0x6e) || // Jun
    name === spelled(0x4a, 0x75, 0x6c) || // Jul
    name === spelled(0x41, 0x75, 0x67) || // Aug
    name === spelled(0x53, 0x65, 0x70) || // Sep
    name === spelled(0x4f, 0x63, 0x74) || // Oct
    name === spelled(0x4e, 0x6f, 0x76) || // Nov
    name === spelled(0x44, 0x65, 0x63) // Dec
  );
}
