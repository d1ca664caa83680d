/** What a worker is told at its start, by the one process it believes. Serialized by node:v8. */
import type { SecureVersion } from 'node:tls';
import type { Settings } from '../config.js';
import type { PemPair } from '../tls/pem-files.js';
import type { TicketSecret } from '../tls/ticket-keys.js';

export interface WorkerStart {
  readonly settings: Settings;
  /** What there is of TLS on each of its listening sockets. */
  readonly sockets: readonly (SocketTls | undefined)[];
  readonly certificates:
    | { readonly pairs: readonly PemPair[]; readonly ticketSecret: TicketSecret }
    | undefined;
  /** The log goes to syslog(3), not to descriptor 2. */
  readonly syslog: boolean;
}

export interface SocketTls {
  /** TLS from the first octet on. */
  readonly implicit: boolean;
  readonly minVersion: SecureVersion;
}
