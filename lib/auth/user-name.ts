/**
 * Which names a user may have. A mailbox file and its dotlock are found by the user's name, so this
 * pattern is what keeps a login name from being a path, a hidden file or somebody's lock.
 */

const MAX_NAME = 64;

/**
 * Whether `name` may be a user's: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, the first a letter, digit or `_`,
 * and not ending in `.lock`: `bob.lock` is the dotlock of bob.
 */
export function isUserName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}$/.test(name) && !/\.lock$/i.test(name);
}

/** The user name that these octets from a client are, or undefined when they are none. */
export function userNameFrom(octets: Uint8Array): string | undefined {
  if (octets.length > MAX_NAME) return undefined;
  const name = Buffer.from(octets).toString('latin1');
  return isUserName(name) ? name : undefined;
}
