/**
 * Binary values written as text, read strictly: what another encoder would have written differently is
 * no value, so that one secret has one spelling.
 */

/** RFC 4648 §4, padded and canonical. Undefined for anything else. */
export function fromBase64(text: string): Buffer | undefined {
  const octets = Buffer.from(text, 'base64');
  return octets.toString('base64') === text ? octets : undefined;
}

/** Pairs of hexadecimal digits of either case. Undefined for anything else. */
export function fromHex(text: string): Buffer | undefined {
  return /^(?:[0-9A-Fa-f]{2})*$/.test(text) ? Buffer.from(text, 'hex') : undefined;
}
