/**
 * The form of a password that keys are derived from (RFC 5802 §2.2, Normalize). Whoever makes keys and
 * whoever checks a password against them must come through here.
 *
 * Printable US-ASCII is its own prepared form (RFC 4013 §2). Anything else is taken octet by octet, as
 * Dovecot takes it when it writes SCRAM keys.
 */

/** @param password octets as typed or as the client sent them */
export async function preparePassword(password: Uint8Array): Promise<Uint8Array> {
  return password;
}
