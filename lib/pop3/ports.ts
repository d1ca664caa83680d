/**
 * What the protocol needs from the world, and the types that several rooms share.
 * Only types live here: a room may import this file without importing the protocol.
 */

/** The other end of a connection, as the log and the limits see it. */
export interface Peer {
  /** Numeric IP address (an IPv4-mapped IPv6 address is given as IPv4), or a word such as `unix`. */
  readonly address: string;
  readonly port: number;
  /** The address of the front end that told who the client is, if one did. */
  readonly via?: string;
}

/** Somebody who has proved who they are. */
export interface Account {
  /** The name as the users file spells it; the mailbox file is found by this name, never by the client's. */
  readonly user: string;
  /** Who must own the mailbox file, where the backend says so. */
  readonly uid?: number;
  readonly gid?: number;
  /** DELE is refused and the mailbox never written, whatever the server's own setting. */
  readonly readOnly?: boolean;
  /** False: no login by POP3, whatever the password. */
  readonly pop3?: boolean;
  /** The only networks to log in from. */
  readonly allowNets?: readonly string[];
}

export type Verdict = { readonly account: Account } | { readonly refused: string };

/**
 * Checks credentials. Never throws for wrong ones: `refused` is the reason, for the log only. Throws
 * `Unavailable` when it cannot tell (users file unreadable, crypt(3) missing): that is `[SYS/TEMP]`,
 * never "wrong password", never "ok".
 */
export interface PasswordChecker {
  /** USER/PASS. Both are the octets the client sent; `peer` is for backends that judge or log it. */
  checkPassword(user: Uint8Array, password: Uint8Array, peer: Peer): Promise<Verdict>;
}

/** Mechanisms of RFC 5802 and RFC 7677, by their SASL names. */
export type ScramMethod = 'SCRAM-SHA-1' | 'SCRAM-SHA-256';
/** The methods by which a password is proved without being sent. */
export type ProofMethod = 'APOP' | 'CRAM-MD5' | ScramMethod;

/** What a client sent to prove that it knows the password of `user`, and what it had to answer. */
export type Proof =
  /** RFC 1939 §7 (APOP), RFC 2195 §2: `digest` is lower-case hex, `challenge` has its angle brackets. */
  | {
      readonly method: 'APOP' | 'CRAM-MD5';
      readonly user: Uint8Array;
      readonly challenge: string;
      readonly digest: string;
    }
  /** RFC 5802 §3: AuthMessage and ClientProof. */
  | {
      readonly method: ScramMethod;
      readonly user: Uint8Array;
      readonly authMessage: Uint8Array;
      readonly clientProof: Uint8Array;
    };

/** By which methods the users can log in: each of them, and at least one of them. */
export interface Provable {
  readonly all: ReadonlySet<ProofMethod>;
  readonly some: ReadonlySet<ProofMethod>;
}

/** RFC 5802 §5.1: what a client needs to make the proof. */
export interface ScramChallenge {
  readonly salt: Uint8Array;
  readonly iterations: number;
}

/** `serverSignature` proves to a SCRAM client that we know its keys, too. */
export type ProofVerdict =
  | { readonly account: Account; readonly serverSignature?: Uint8Array }
  | { readonly refused: string };

/** What there is to be told before a proof. Throws `Unavailable` as `PasswordChecker` does. */
export interface Challenger {
  /** Of the users as they are now: what is worth being offered. */
  provable(): Promise<Provable>;
  /** For whoever is asked, whether or not there is such a user, and always the same. */
  scramChallenge(method: ScramMethod, user: Uint8Array, peer: Peer): Promise<ScramChallenge>;
}

/** Every way to log in. Whatever is asked of it, it throws `Unavailable` as `PasswordChecker` does. */
export interface Authenticator extends PasswordChecker, Challenger {
  checkProof(proof: Proof, peer: Peer): Promise<ProofVerdict>;
}

/**
 * A message, or what TOP asks of it, in its wire form: CRLF line ends, always a final CRLF (unless there are
 * no octets at all), byte-stuffed (RFC 1939 §3). Read in order and once; whoever reads brings the memory.
 */
export interface MessageReader {
  /**
   * Puts the next octets into `into`, and does not refer to it any more once that is done.
   * @param into at least 1 KiB
   * @returns how many, 0 only at the end; a promise where the mailbox file has to be waited for
   */
  read(into: Buffer): number | Promise<number>;
  /** Octets read so far, without those that byte-stuffing put in: what LIST counts. */
  readonly octets: number;
}

/**
 * One mailbox through one session (RFC 1939 §4-6). Message-numbers run from 1 to `messages` and never
 * move; a number outside that range is the caller's bug. Octets are octets as RETR sends them: line
 * ends counted as CRLF, byte-stuffing not counted (RFC 1939 §11).
 */
export interface Maildrop {
  /** Messages found at login, marked ones included. */
  readonly messages: number;
  /** The sum of `octets(n)` over all of them. */
  readonly totalOctets: number;
  octets(n: number): number;
  isMarked(n: number): boolean;
  /** DELE: marks the message for the UPDATE state. Throws `Unavailable` (read-only, mailbox broken). */
  mark(n: number): Promise<void>;
  /** RSET. */
  unmarkAll(): void;
  /** The unique-ids of all messages, marked ones included; element n-1 is that of message n. Computed once. */
  uniqueIds(): Promise<readonly string[]>;
  /** The message: exactly `octets(n)` octets in all. */
  retrieve(n: number): MessageReader;
  /** The same, cut after the header, the empty line and `lines` lines of the body (RFC 1939 §7, TOP). */
  top(n: number, lines: number): MessageReader;
  /**
   * The UPDATE state: removes the marked messages, makes that durable, and releases every lock. Throws
   * `Unavailable` when they were not removed; the locks are released then too.
   */
  update(): Promise<void>;
  /**
   * Ends the session, without UPDATE unless there was one: every lock is released. Safe to call twice. After update() it
   * does what the client need not wait for.
   */
  release(): Promise<void>;
}

/** What one session may have open of files, where one process serves many. */
export interface SessionDescriptors {
  /** Whether who is idle should do without. */
  readonly scarce: boolean;
  /** It has closed all it had. */
  rest(): void;
  /** Before it opens anything again: resolves when there is enough for it. */
  wake(): Promise<void>;
}

/** The session that has a maildrop, as another one that asks for it needs to know it. */
export interface Holder {
  /** For how long the client has sent no command and taken no output, ms; 0 while it waits for us. */
  silence(): number;
  /** Ends the session at once, without a word and without UPDATE; it then releases the maildrop. */
  cut(): void;
  /** Undefined where it may have as many as it likes. */
  readonly descriptors?: SessionDescriptors | undefined;
}

/** Opens the maildrop of an account. Throws `Unavailable` with IN-USE, SYS/TEMP or SYS/PERM. */
export type OpenMaildrop = (account: Account, peer: Peer, holder: Holder) => Promise<Maildrop>;
