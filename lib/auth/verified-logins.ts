/**
 * Remembers for a while that a password was the right one, so that a client that asks for mail every
 * minute does not cost a yescrypt each time.
 *
 * Invariants: nothing is kept but a keyed digest of user, stored secret and password together, under
 * a key that never leaves this process; so what was stored and is stored no longer vouches for nobody, from
 * the moment it is changed. Only right passwords are remembered, one a user, so nobody can fill or empty it
 * for others. Using an entry does not prolong it. Whoever reads our memory could try passwords against the
 * digests, and fast: that is why they are short-lived.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { writeScramKeys } from './scram-keys.js';
import type { Secret } from './secret.js';

/** About 200 octets each. Beyond it the oldest goes. */
const MAX_ENTRIES = 10_000;

export interface VerifiedLoginsOptions {
  /** Milliseconds; 0 remembers nothing. */
  readonly lifetime: number;
  readonly maxEntries?: number;
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number;
}

interface Entry {
  readonly digest: Buffer;
  readonly expires: number;
}

/** For one backend: names are its own. */
export class VerifiedLogins {
  readonly #key = randomBytes(32);
  /** By user name, and in the order of expiry. */
  readonly #entries = new Map<string, Entry>();
  readonly #lifetime: number;
  readonly #maxEntries: number;
  readonly #now: () => number;
  #sweeping = false;

  constructor(options: VerifiedLoginsOptions) {
    this.#lifetime = options.lifetime;
    this.#maxEntries = options.maxEntries ?? MAX_ENTRIES;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Entries held, expired ones that were not swept yet included. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether this password was found right for this user and this stored secret, not long ago. */
  has(user: string, secret: Secret, password: Uint8Array): boolean {
    if (this.#lifetime === 0) return false;
    const digest = this.#digest(user, secret, password);
    const entry = this.#entries.get(user);
    if (digest === undefined || entry === undefined || entry.expires <= this.#now()) return false;
    return timingSafeEqual(entry.digest, digest);
  }

  /** To be called when, and only when, the password was checked against the secret and is right. */
  remember(user: string, secret: Secret, password: Uint8Array): void {
    const digest = this.#lifetime === 0 ? undefined : this.#digest(user, secret, password);
    if (digest === undefined) return;
    // Taken out first, so that it stands last.
    this.#entries.delete(user);
    this.#entries.set(user, { digest, expires: this.#now() + this.#lifetime });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxEntries) break;
      this.#entries.delete(oldest);
    }
    this.#sweepLater();
  }

  #digest(user: string, secret: Secret, password: Uint8Array): Buffer | undefined {
    const stored = storedForm(secret);
    if (stored === undefined) return undefined;
    // Neither has a NUL, so the parts cannot be cut in another way. No HMAC, which takes twice the time: it is for
    // digests that somebody sees, and might make longer ones of. No string either: a password in one could not be wiped.
    const text = Buffer.concat([this.#key, Buffer.from(`${user}\0${stored}\0`), password]);
    try {
      return hash('sha256', text, 'buffer');
    } finally {
      text.fill(0);
    }
  }

  /** A timer of its own: where nobody logs in any more, entries must go all the same. */
  #sweepLater(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    setTimeout(() => {
      this.#sweeping = false;
      const now = this.#now();
      for (const [user, { expires }] of this.#entries) {
        if (expires > now) break;
        this.#entries.delete(user);
      }
      if (this.#entries.size > 0) this.#sweepLater();
    }, this.#lifetime).unref();
  }
}

/** The stored secret, as one text without NUL. Undefined when checking it is cheaper than remembering. */
function storedForm(secret: Secret): string | undefined {
  switch (secret.kind) {
    case 'crypt':
    case 'des':
      return secret.hash;
    case 'scram':
      return `${secret.hash} ${writeScramKeys(secret)}`;
    case 'pbkdf2':
      return [
        secret.iterations,
        ...[secret.salt, secret.key].map(part => Buffer.from(part).toString('hex')),
      ].join(' ');
    default:
      return undefined;
  }
}
