/**
 * Checks of proofs, which show that the client knows a password without sending it: APOP (RFC 1939 §7),
 * CRAM-MD5 (RFC 2195), SCRAM (RFC 5802, RFC 7677).
 *
 * Invariants: nobody is told before the end of an exchange whether the user exists or could use the method;
 * the work of a check is the same for a user who does not exist; a comparison takes the same time wherever
 * the difference is.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { Unavailable } from '../errors.js';
import type {
  Proof,
  ProofMethod,
  ProofVerdict,
  Provable,
  ScramChallenge,
  ScramMethod,
} from '../pop3/ports.js';
import { findUser, problemOf, type UserEntry } from './credentials.js';
import { sameOctets } from './password.js';
import { otherForm } from './prepare-password.js';
import { type SaltKey, saltOf } from './salts.js';
import { deriveScramKeys, type ScramHash, type ScramKeys } from './scram-keys.js';
import type { Secret } from './secret.js';

type DigestProof = Extract<Proof, { digest: string }>;
type ScramProof = Exclude<Proof, DigestProof>;

/** Users without stored keys have these, unless most others have others. RFC 5802 §5.1, RFC 7677 §4: 4096. */
const USUAL: Usual = { iterations: 4096, saltOctets: 16, stored: false };

const HASHES: Readonly<Record<ScramMethod, ScramHash>> = { 'SCRAM-SHA-1': 'sha1', 'SCRAM-SHA-256': 'sha256' };
const KEY_OCTETS: Readonly<Record<ScramHash, number>> = { sha1: 20, sha256: 32 };
const EVERY: readonly ProofMethod[] = ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'CRAM-MD5', 'APOP'];

/** What the keys of most users look like, for those who have none. */
interface Usual {
  readonly iterations: number;
  readonly saltOctets: number;
  /** Whether some users have stored keys, so that a check needs no derivation. */
  readonly stored: boolean;
}

/** A fixed set of users and the proofs they can give. */
export class Proofs {
  readonly provable: Provable;
  readonly #users: ReadonlyMap<string, UserEntry>;
  readonly #usual: Readonly<Record<ScramHash, Usual>>;
  readonly #saltKey: SaltKey;

  constructor(users: ReadonlyMap<string, UserEntry>, saltKey: SaltKey) {
    const secrets = [...users.values()].map(user => user.secret);
    this.provable = provableOf(secrets);
    this.#users = users;
    this.#usual = { sha1: usualKeys(secrets, 'sha1'), sha256: usualKeys(secrets, 'sha256') };
    this.#saltKey = saltKey;
  }

  /** The contract is `Authenticator.scramChallenge`. */
  async scramChallenge(method: ScramMethod, user: Uint8Array): Promise<ScramChallenge> {
    // For everybody: that the key is read must not take longer for some.
    const key = await this.#saltKey();
    const hash = HASHES[method];
    const secret = findUser(this.#users, user)?.secret;
    if (secret?.kind === 'scram' && secret.hash === hash) {
      return { salt: secret.salt, iterations: secret.iterations };
    }
    const { iterations, saltOctets } = this.#usual[hash];
    return { salt: saltOf(key, hash, user, saltOctets), iterations };
  }

  /** The contract is `Authenticator.checkProof`. */
  async checkProof(proof: Proof): Promise<ProofVerdict> {
    const entry = findUser(this.#users, proof.user);
    const secret = entry?.secret;
    const result =
      'digest' in proof
        ? await checkDigest(proof, secret?.kind === 'plain' ? secret.octets : undefined)
        : checkScram(await this.#keysOf(proof.method, proof.user, secret), proof);
    // Only now: what the check costs must not depend on it.
    if (entry === undefined || secret === undefined || !isProvable(secret, proof.method)) {
      return { refused: problemOf(entry) ?? `stored password does not do for ${proof.method}` };
    }
    if (result === false) return { refused: 'wrong proof' };
    return { account: entry.account, ...(result !== true && { serverSignature: result }) };
  }

  /** Stored keys, or those of the {PLAIN} password; for anybody else, keys of nobody's at the usual cost. */
  async #keysOf(method: ScramMethod, user: Uint8Array, secret: Secret | undefined): Promise<ScramKeys> {
    const hash = HASHES[method];
    if (secret?.kind === 'scram' && secret.hash === hash) return secret;
    const { salt, iterations } = await this.scramChallenge(method, user);
    if (secret?.kind !== 'plain' && this.#usual[hash].stored) {
      const key = randomBytes(KEY_OCTETS[hash]);
      return { hash, salt, iterations, storedKey: key, serverKey: key };
    }
    const password = secret?.kind === 'plain' ? secret.octets : randomBytes(16);
    return deriveScramKeys(password, { hash, salt, iterations });
  }
}

/** Whether a user with this secret can use the method. */
function isProvable(secret: Secret, method: ProofMethod): boolean {
  if (secret.kind === 'plain') return true;
  if (secret.kind !== 'scram' || method === 'APOP' || method === 'CRAM-MD5') return false;
  return HASHES[method] === secret.hash;
}

/** Whoever cannot log in at all does not count. */
function provableOf(secrets: readonly Secret[]): Provable {
  const usable = secrets.filter(({ kind }) => kind !== 'locked' && kind !== 'unknown');
  const methods = EVERY.filter(method => hasMd5() || method.startsWith('SCRAM'));
  const some = methods.filter(method => usable.some(secret => isProvable(secret, method)));
  return {
    some: new Set(some),
    all: new Set(some.filter(method => usable.every(secret => isProvable(secret, method)))),
  };
}

function usualKeys(secrets: readonly Secret[], hash: ScramHash): Usual {
  const counts = new Map<string, number>();
  let usual = USUAL;
  let most = 0;
  for (const secret of secrets) {
    if (secret.kind !== 'scram' || secret.hash !== hash) continue;
    const { iterations, salt } = secret;
    const looks = `${iterations} ${salt.length}`;
    const count = (counts.get(looks) ?? 0) + 1;
    counts.set(looks, count);
    if (count > most) {
      most = count;
      usual = { iterations, saltOctets: Math.min(salt.length, 32), stored: true };
    }
  }
  return usual;
}

/** RFC 5802 §3. @returns ServerSignature when the proof is right, else false */
export function checkScram(
  { hash, storedKey, serverKey }: Pick<ScramKeys, 'hash' | 'storedKey' | 'serverKey'>,
  { authMessage, clientProof }: Pick<ScramProof, 'authMessage' | 'clientProof'>,
): Uint8Array | false {
  const hmac = (key: Uint8Array) => createHmac(hash, key).update(authMessage).digest();
  const signature = hmac(storedKey);
  if (clientProof.length !== signature.length) return false;
  const clientKey = signature.map((octet, i) => octet ^ clientProof[i]!);
  const right = timingSafeEqual(createHash(hash).update(clientKey).digest(), storedKey);
  return right && hmac(serverKey);
}

/** Of octets the client's own, or prepared as SCRAM would (RFC 4013). */
async function checkDigest(
  { method, challenge, digest }: DigestProof,
  secret: Uint8Array | undefined,
): Promise<boolean> {
  const shared = secret ?? randomBytes(16);
  const other = await otherForm(shared);
  const expected = (password: Uint8Array) =>
    method === 'APOP' ? apopDigest(challenge, password) : cramMd5Digest(challenge, password);
  const matches = (password: Uint8Array) => sameOctets(Buffer.from(digest, 'latin1'), expected(password));
  return matches(shared) || (other !== undefined && matches(other));
}

/** RFC 1939 §7 (APOP): the digest of the timestamp, with its angle brackets, and the shared secret. */
function apopDigest(timestamp: string, secret: Uint8Array): string {
  return orUnavailable(() => createHash('md5').update(timestamp, 'latin1').update(secret).digest('hex'));
}

/** RFC 2195 §2: the keyed digest of the challenge, with its angle brackets. */
function cramMd5Digest(challenge: string, secret: Uint8Array): string {
  return orUnavailable(() => createHmac('md5', secret).update(challenge, 'latin1').digest('hex'));
}

function orUnavailable<T>(compute: () => T): T {
  try {
    return compute();
  } catch (cause) {
    // OpenSSL in FIPS mode has no MD5.
    throw new Unavailable('SYS/TEMP', 'MD5 is not available', { cause });
  }
}

function hasMd5(): boolean {
  try {
    createHash('md5');
    return true;
  } catch {
    return false;
  }
}
