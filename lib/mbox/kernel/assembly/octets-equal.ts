/** Where an octet stands among others, as bits: what the loops over lines go by. */

/** One bit for each of the sixteen octets at `at` that is `octet`. */
export function octetsEqual(at: usize, octet: u8): u32 {
  return i8x16.bitmask(i8x16.eq(v128.load(at), i8x16.splat(octet)));
}
