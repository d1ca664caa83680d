/**
 * Tells the kernels the names of the fields that no client is sent, so that these stand in one place.
 */
import { FieldNames } from '../header-filter.js';
import { METADATA } from '../metadata.js';

/** Octets that the kernels compare at a time: of a name, and its colon. */
const LONGEST = 16;

/** Octets for each name: in lower case with its colon, then 255 for each octet that counts. */
const ROW = 2 * LONGEST;

/**
 * @param firsts 256 octets: 1 where a name may begin with that octet
 * @param rows   an u32 with the number of names, one with the octets of the longest, and from `ROW` on a row for each
 */
export function tellHiddenFields(firsts: Uint8Array, rows: Uint8Array): void {
  const names = new FieldNames(METADATA);
  if (names.longest >= LONGEST) throw new Error('a field name is too long for the kernels');
  for (let octet = 0; octet < 256; octet++) firsts[octet] = names.mayBegin(octet) ? 1 : 0;
  rows[0] = METADATA.length;
  rows[4] = names.longest;
  for (const [n, name] of METADATA.entries()) {
    const field = Buffer.from(`${name.toLowerCase()}:`, 'latin1');
    const at = (n + 1) * ROW;
    rows.set(field, at);
    rows.fill(0xff, at + LONGEST, at + LONGEST + field.length);
  }
}
