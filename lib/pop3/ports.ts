/**
 * What the protocol needs from the world, and the types that several rooms share.
 * Only types live here: a room may import this file without importing the protocol.
 */

/** The other end of a connection, as the log and the limits see it. */
export interface Peer {
  /** Numeric IP address (an IPv4-mapped IPv6 address is given as IPv4), or a word such as `unix`. */
  readonly address: string;
  readonly port: number;
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

/** Every way to log in. */
export interface Authenticator extends PasswordChecker {
  /** APOP (RFC 1939 §7): `digest` is the lower-case hex MD5 of `timestamp` followed by the shared secret. */
  checkApop(user: Uint8Array, timestamp: string, digest: string, peer: Peer): Promise<Verdict>;
}

/**
 * One mailbox through one session (RFC 1939 §4-6). Message-numbers run from 1 to `messages` and never
 * move; a number outside that range is the caller's bug. Octets are octets as RETR sends them: line
 * ends counted as CRLF, byte-stuffing not counted (RFC 1939 §11).
 */
export interface Maildrop {
  /** Messages found at login, marked ones included. */
  readonly messages: number;
  octets(n: number): number;
  isMarked(n: number): boolean;
  /** DELE: marks the message for the UPDATE state. Throws `Unavailable` (read-only, mailbox broken). */
  mark(n: number): Promise<void>;
  /** RSET. */
  unmarkAll(): void;
  /** The unique-ids of all messages, marked ones included; element n-1 is that of message n. Computed once. */
  uniqueIds(): Promise<readonly string[]>;
  /**
   * The message in its wire form: CRLF line ends, always a final CRLF (unless there are no octets at
   * all), not yet byte-stuffed; exactly `octets(n)` octets in all. Chunks may be cut anywhere.
   */
  retrieve(n: number): AsyncIterable<Uint8Array>;
  /** The same, cut after the header, the empty line and `lines` lines of the body (RFC 1939 §7, TOP). */
  top(n: number, lines: number): AsyncIterable<Uint8Array>;
  /**
   * The UPDATE state: removes the marked messages, makes that durable, and releases every lock. Throws
   * `Unavailable` when they were not removed; the locks are released then too.
   */
  update(): Promise<void>;
  /** Ends without UPDATE: nothing is removed, every lock is released. Safe to call twice, and after update(). */
  release(): Promise<void>;
}

/** The session that has a maildrop, as another one that asks for it needs to know it. */
export interface Holder {
  /** For how long the client has sent no command and taken no output, ms; 0 while it waits for us. */
  silence(): number;
  /** Ends the session at once, without a word and without UPDATE; it then releases the maildrop. */
  cut(): void;
}

/** Opens the maildrop of an account. Throws `Unavailable` with IN-USE, SYS/TEMP or SYS/PERM. */
export type OpenMaildrop = (account: Account, peer: Peer, holder: Holder) => Promise<Maildrop>;
