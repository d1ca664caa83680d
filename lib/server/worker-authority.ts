/**
 * The supervisor's end of what its workers share: connection limits, the throttling of guesses, and whoever
 * checks passwords, so that several processes count as one, and none of those that parse what the network
 * sends ever has a stored secret.
 *
 * Invariants: what a worker holds is known here, and given back when it is gone, however it went; one that says what
 * none of ours would say is not listened to any more.
 */
import type { Duplex } from 'node:stream';
import type { Challenger } from '../pop3/ports.js';
import type { ConnectionLimits, MaybeLater } from './limits.js';
import type { LocalLogins } from './logins.js';
import { type Answer, Channel } from './worker-channel.js';
import { addressOf, peerAt, WorkerConnection } from './worker-connection.js';
import { readCredentials, scramMethodOf } from './worker-credentials.js';
import { BadMessage, countOf, type Head } from './worker-frames.js';

/** More than any worker has to say at once: a line of SASL is at most 15 KiB long. */
const MAX_MESSAGE = 64 * 1024;

/** What the workers share. */
export interface Shared {
  readonly admission: ConnectionLimits;
  readonly logins: LocalLogins;
  readonly authenticator: Challenger;
}

export interface WorkerEvents {
  /** One of its connections is over. */
  left(): void;
  /** Something else that it says. */
  heard(name: string): void;
  /** It is not to be listened to any more. The contract is `ChannelHandlers.closed`. */
  closed(reason: string, nonsense: boolean): void;
}

export class WorkerAuthority {
  readonly channel: Channel;
  readonly #connections = new Map<number, WorkerConnection>();
  #next = 0;

  constructor(
    stream: Duplex,
    private readonly shared: Shared,
    private readonly events: WorkerEvents,
  ) {
    const handlers = {
      answer: (name: string, head: Head, octets: Buffer) => this.#answer(name, head, octets),
      hear: (name: string, head: Head) => this.#hear(name, head),
      closed: (reason: string, nonsense: boolean) => events.closed(reason, nonsense),
    };
    this.channel = new Channel(stream, handlers, MAX_MESSAGE);
  }

  /** Connections of this worker. */
  get connections(): number {
    return this.#connections.size;
  }

  /** The worker is gone: all it held is free. */
  release(): void {
    for (const connection of this.#connections.values()) connection.lost();
    this.#connections.clear();
  }

  #answer(name: string, head: Head, octets: Buffer): MaybeLater<Answer> {
    switch (name) {
      case 'enter':
        return { head: this.#enter(head) };
      case 'count':
        return { head: { refused: this.#at(head).countFor(addressOf(head, 'address')) } };
      case 'begin':
        return this.#at(head).begin(this.shared.logins, head, readCredentials(head, octets));
      case 'check':
        return this.#at(head).check(readCredentials(head, octets));
      case 'provable':
        return this.#provable();
      case 'scram':
        return this.#scramChallenge(head, octets);
      default:
        throw new BadMessage('no such call');
    }
  }

  #hear(name: string, head: Head): void {
    switch (name) {
      case 'leave':
        this.#at(head).leave();
        this.#connections.delete(countOf(head, 'place'));
        this.events.left();
        return;
      case 'leave-user':
        this.#at(head).leaveUser();
        return;
      case 'abandoned':
        this.#at(head).abandon();
        return;
      default:
        this.events.heard(name);
    }
  }

  #enter(head: Head): Head {
    const address = head.address === undefined ? undefined : addressOf(head, 'address');
    const place = this.shared.admission.enter(address);
    if ('refused' in place) return place;
    this.#connections.set(this.#next, new WorkerConnection(place, address));
    return { place: this.#next++ };
  }

  /** @throws BadMessage when the worker has no such connection */
  #at(head: Head): WorkerConnection {
    const connection = this.#connections.get(countOf(head, 'place'));
    if (connection === undefined) throw new BadMessage('no such place');
    return connection;
  }

  async #provable(): Promise<Answer> {
    const { all, some } = await this.shared.authenticator.provable();
    return { head: { all: [...all], some: [...some] } };
  }

  /** What anybody who connects is told; the answer is no secret, and no guess. */
  async #scramChallenge(head: Head, user: Buffer): Promise<Answer> {
    const peer = peerAt(addressOf(head, 'address'), head);
    const { authenticator } = this.shared;
    const { salt, iterations } = await authenticator.scramChallenge(scramMethodOf(head), user, peer);
    return { head: { iterations }, octets: salt };
  }
}
