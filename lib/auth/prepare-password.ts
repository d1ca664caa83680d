/**
 * The form of a password that keys are derived from: SASLprep, RFC 4013 (RFC 5802 §2.2, Normalize), so that
 * a letter typed as one character on one machine and as two on another is the same password. Whoever makes
 * keys and whoever checks a password against them must come through here.
 *
 * Invariant: what has no prepared form (octets that are not UTF-8, as of a Latin-1 client; characters that
 * SASLprep prohibits; nothing left) is taken octet by octet, so that no password is unusable.
 */

/** @param password octets as typed or as the client sent them */
export async function preparePassword(password: Uint8Array): Promise<Uint8Array> {
  // RFC 4013 §2: SASLprep changes nothing in US-ASCII. Nearly all passwords end here, without the tables.
  if (password.every(octet => octet < 0x80)) return password;
  const { default: saslprep } = await import('@mongodb-js/saslprep');
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(password);
    // RFC 3454 §7: characters newer than its Unicode 3.2 (emoji) are let through, here as in the clients.
    const prepared = Buffer.from(saslprep(text, { allowUnassigned: true }));
    return prepared.length === 0 ? password : prepared;
  } catch {
    return password;
  }
}

/** The prepared form where it is another one: what to try when the octets as they are were wrong. */
export async function otherForm(password: Uint8Array): Promise<Uint8Array | undefined> {
  const prepared = await preparePassword(password);
  return Buffer.compare(prepared, password) === 0 ? undefined : prepared;
}
