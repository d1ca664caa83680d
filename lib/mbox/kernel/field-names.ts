/**
 * Tells the kernels names of header fields, so that these stand in one place: those that no client is sent, and those
 * that mail readers change.
 */
import { FieldNames } from '../header-filter.js';

/**
 * @param names  of fields
 * @param octets how many the kernels compare: of a name, and its colon
 * @param firsts 256 octets: 1 where a name may begin with that octet
 * @param rows   an u32 with the number of names, one with the octets of the longest, and then for each name, on from
 *   twice `octets`, as many in lower case with its colon, and 255 for each octet that counts
 */
export function tellFields(
  names: readonly string[],
  octets: 16 | 32,
  firsts: Uint8Array,
  rows: Uint8Array,
): void {
  const all = new FieldNames(names);
  if (all.longest >= octets) throw new Error('a field name is too long for the kernels');
  for (let octet = 0; octet < 256; octet++) firsts[octet] = all.mayBegin(octet) ? 1 : 0;
  rows[0] = names.length;
  rows[4] = all.longest;
  for (const [n, name] of names.entries()) {
    const field = Buffer.from(`${name.toLowerCase()}:`, 'latin1');
    const at = (n + 1) * 2 * octets;
    rows.set(field, at);
    rows.fill(0xff, at + octets, at + octets + field.length);
  }
}
