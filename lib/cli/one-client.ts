/**
 * The process for one connection (inetd `nowait`, systemd `Accept=yes`), from the greeting on: as root it becomes
 * its client's user, else it serves with the ids it has. inetd.ts has looked at what can be wrong before.
 */
import type { Socket } from 'node:net';
import type { Settings } from '../config.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import { Networks } from '../networks.js';
import type { Account, Peer } from '../pop3/ports.js';
import type { GivenSocket } from '../server/given.js';
import { peerOf } from '../server/peer.js';
import { RECEIVE_BUFFER } from '../server/received.js';
import { type SessionServices, serve, type TlsOffer } from '../server/session.js';
import { KEEPALIVE_AFTER } from '../server/socket.js';
import { createServices, effectiveUid, kernelFor } from '../services.js';
import type { PemPair } from '../tls/pem-files.js';
import { lazily, openBackends } from './authenticator.js';
import { mailboxOwner, PerUser } from './per-user.js';
import { connectionTls } from './tls.js';

/** The one client, and what systemd called its socket. */
export interface Client extends GivenSocket {
  readonly socket: Socket;
}

/** What was found out, and done, before. */
export interface Begun {
  /** TLS from the first octet on. */
  readonly implicit: boolean;
  /** The certificates as root could read them. */
  readonly pairs: readonly PemPair[];
  /** The greeting was said already. */
  readonly greeted: boolean;
  /** Shutdown. */
  readonly signal: AbortSignal;
}

/** @throws UsageError for whatever the sysadmin must put right first */
export async function serveOne(
  host: Host,
  log: Log,
  settings: Settings,
  { fd, socket }: Client,
  { implicit, pairs, greeted, signal }: Begun,
): Promise<void> {
  const offer = await connectionTls(settings, log, pairs, implicit);
  const identify = await identification(settings, log, socket);
  if (settings.kernel === 'wasm') await kernelFor(settings.kernel, log);
  const { services, tls } = connectionServices(host, log, settings, offer);
  host.limitReceived(fd, RECEIVE_BUFFER);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEPALIVE_AFTER);
  const peer = await identify(signal);
  if (peer) await serve(socket, peer, services, { signal, tls, greeted });
}

/**
 * How to find out who the client is: by the socket, or behind a front end by its header. Loads what that
 * needs, because it may be out of reach for whoever parses.
 * @returns undefined, once called, for a connection that is cut
 */
async function identification(
  { proxyNets, handshakeTimeout }: Settings,
  log: Log,
  socket: Socket,
): Promise<(signal: AbortSignal) => Promise<Peer | undefined>> {
  const peer = peerOf(socket);
  if (!new Networks(proxyNets).has(peer.address)) return async () => peer;
  const { clientBehind } = await import('../server/front-end.js');
  return signal => clientBehind(socket, peer, { timeout: handshakeTimeout, signal, log });
}

/** @throws UsageError for an account that was named and does not exist */
function connectionServices(
  host: Host,
  log: Log,
  settings: Settings,
  tls: TlsOffer | undefined,
): { services: SessionServices; tls: TlsOffer | undefined } {
  const backends = lazily(() => openBackends(host, log, settings, false));
  if (effectiveUid() !== 0) {
    const ownerOf = (account: Account) => mailboxOwner(host, account);
    return { services: createServices(settings, { host, log, authenticator: backends, ownerOf }), tls };
  }
  const perUser = new PerUser(host, settings);
  const authenticator = perUser.confineBackends(backends);
  const services = createServices(settings, { host, log, authenticator, ...perUser.parts });
  return { services: perUser.confine(services), tls: tls && perUser.confineTls(tls) };
}
