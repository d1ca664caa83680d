/** What a session needs from the composition root, and what can be set about it. Types and defaults only. */
import type { Duplex } from 'node:stream';
import type { SecureVersion } from 'node:tls';
import type { Log } from '../log.js';
import type { Plaintext, SaslContext } from '../pop3/mechanisms.js';
import type { Challenger, OpenMaildrop } from '../pop3/ports.js';
import type { DescriptorBudget } from './descriptors.js';
import type { Logins } from './logins.js';
import type { OutputPlaces } from './output.js';
import type { AskKernel } from './silence.js';

export interface SessionSettings {
  /** Name in the greeting and in APOP's timestamp. */
  readonly hostname: string;
  readonly apop: boolean;
  readonly last: boolean;
  /** Where passwords may be sent as they are. */
  readonly plaintext: Plaintext;
  readonly saslMechanisms: SaslContext['mechanisms'];
  /** Total time to authenticate, in ms. */
  readonly loginTimeout: number;
  /** In ms, from one command or accepted output to the next; RFC 1939 §3 wants at least 10 minutes. */
  readonly idleTimeout: number;
  /** The silence after which another session may end this one, in ms; 0 for never. */
  readonly takeover: number;
  /** Refused logins are answered at a multiple of this, in ms. */
  readonly failureDelay: number;
  /** The so many-th bad command in a row ends the session; a good one starts the count again. */
  readonly maxBadCommands: number;
  /** The same before the login, of words that are no commands of POP3. */
  readonly maxBadCommandsBeforeLogin: number;
  /** The so many-th refused login of a connection ends it. */
  readonly maxLoginFailures: number;
  /** Whether somebody from this address may log in at all. */
  readonly permits: (address: string) => boolean;
}

export const DEFAULT_SESSION_SETTINGS: SessionSettings = {
  hostname: 'localhost',
  apop: false,
  last: false,
  plaintext: 'always',
  saslMechanisms: 'auto',
  loginTimeout: 60_000,
  idleTimeout: 600_000,
  takeover: 60_000,
  failureDelay: 1000,
  // Only words that are none of POP3: old clients try AUTH, APOP and STLS before USER.
  maxBadCommandsBeforeLogin: 3,
  maxBadCommands: 20,
  maxLoginFailures: 5,
  permits: () => true,
};

/** How much of what a client sends is held by a stream, and not read yet. */
export interface Inbound {
  /** From now on at most so many octets; Infinity for whatever comes. */
  allow(most: number): void;
  /** Called once, when more than that is held: to end the connection. */
  tooMuch: () => void;
}

/** A stream under TLS. */
export interface Secured {
  readonly stream: Duplex;
  readonly inbound: Inbound;
  /** `TLSv1.3` and the like. */
  readonly protocol: string;
}

/** The TLS of one listener. */
export interface TlsOffer {
  /** TLS from the first octet on (RFC 8314 §3); else by STLS (RFC 2595 §4). */
  readonly implicit: boolean;
  /** The least version, where somebody else must know it. */
  readonly minVersion?: SecureVersion;
  /** Asked before the client is told to begin. @throws Unavailable when no TLS can come of it */
  ready(): Promise<void>;
  /** Does the handshake, as the server. The stream is not used for anything else from then on. @throws HandshakeFailed */
  start(stream: Duplex): Promise<Secured>;
}

export interface SessionServices {
  readonly logins: Logins;
  /** Where one process serves many. */
  readonly descriptors?: DescriptorBudget;
  /** For what an exchange needs before there is anything to check. */
  readonly authenticator: Challenger;
  readonly openMaildrop: OpenMaildrop;
  readonly askKernel: AskKernel;
  /** Where replies are put together; memory of one's own, unless there is better. */
  readonly places?: OutputPlaces;
  /** `Host.limitReceived`. */
  readonly limitReceived: (fd: number, octets: number) => void;
  readonly log: Log;
  readonly settings: SessionSettings;
}
