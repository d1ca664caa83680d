/** The client's side of SCRAM (RFC 5802 §3), written apart from the server's. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

type Hash = 'sha1' | 'sha256';

const NAMES = { sha1: 'SCRAM-SHA-1', sha256: 'SCRAM-SHA-256' } as const;

/** @param password octets, prepared as the client sees fit */
export class ScramClient {
  readonly method: 'SCRAM-SHA-1' | 'SCRAM-SHA-256';
  readonly #bare: string;
  /** The server's signature, once `final` was asked for. */
  expected = '';

  constructor(
    private readonly hash: Hash,
    user: string,
    private readonly password: string | Uint8Array,
    nonce = 'fyko+d2lbbFgONRv9qkxdawL',
  ) {
    this.method = NAMES[hash];
    this.#bare = `n=${user},r=${nonce}`;
  }

  get first(): string {
    return `n,,${this.#bare}`;
  }

  /** What the authenticator is asked to check, for a challenge. */
  proof(serverFirst: string): { authMessage: Buffer; clientProof: Buffer; withoutProof: string } {
    const { hash, password } = this;
    const [nonce, salt, iterations] = ['r', 's', 'i'].map(
      name => new RegExp(`(?:^|,)${name}=([^,]*)`).exec(serverFirst)?.[1] ?? '',
    );
    const length = hash === 'sha1' ? 20 : 32;
    const salted = pbkdf2Sync(password, Buffer.from(salt!, 'base64'), Number(iterations), length, hash);
    const hmac = (key: Uint8Array, text: string | Uint8Array) => createHmac(hash, key).update(text).digest();
    const withoutProof = `c=biws,r=${nonce}`;
    const authMessage = Buffer.from(`${this.#bare},${serverFirst},${withoutProof}`, 'latin1');
    const clientKey = hmac(salted, 'Client Key');
    const signature = hmac(createHash(hash).update(clientKey).digest(), authMessage);
    this.expected = hmac(hmac(salted, 'Server Key'), authMessage).toString('base64');
    const clientProof = Buffer.from(clientKey.map((octet, i) => octet ^ signature[i]!));
    return { authMessage, clientProof, withoutProof };
  }

  /** The final message. */
  final(serverFirst: string): string {
    const { withoutProof, clientProof } = this.proof(serverFirst);
    return `${withoutProof},p=${clientProof.toString('base64')}`;
  }
}
