/**
 * The supervisor's end of what its workers share: connection limits, the throttling of guesses, and whoever
 * checks passwords, so that several processes count as one, and none of those that parse what the network
 * sends ever has a stored secret.
 *
 * Invariant: what a worker holds is known here, and given back when it is gone, however it went.
 */
import type { Duplex } from 'node:stream';
import type { Authenticator, Peer, Proof, ScramMethod } from '../pop3/ports.js';
import type { ConnectionLimits, KeyedLimit, LocalPlace } from './limits.js';
import type { Attempt, Throttle } from './throttle.js';
import { type Answer, Channel, writeError } from './worker-channel.js';
import { BadMessage, countOf, type Head, textOf } from './worker-frames.js';

/** More than any worker has to say at once: a line of SASL is at most 15 KiB long. */
const MAX_MESSAGE = 64 * 1024;

/** What the workers share. */
export interface Shared {
  readonly admission: ConnectionLimits;
  readonly users: KeyedLimit;
  readonly throttle: Throttle;
  readonly authenticator: Authenticator;
}

export interface WorkerEvents {
  /** One of its connections is over. */
  left(): void;
  /** Something else that it says. */
  heard(name: string): void;
  /** It is not to be listened to any more. */
  closed(reason: string): void;
}

const SCRAM: ReadonlySet<string> = new Set<ScramMethod>(['SCRAM-SHA-1', 'SCRAM-SHA-256']);
const DIGEST: ReadonlySet<string> = new Set(['APOP', 'CRAM-MD5']);

export class WorkerAuthority {
  readonly channel: Channel;
  readonly #places = new Held<LocalPlace>(place => place.leave());
  readonly #users = new Held<() => void>(leave => leave());
  readonly #attempts = new Held<Attempt>(attempt => attempt.abandoned());

  constructor(
    stream: Duplex,
    private readonly shared: Shared,
    private readonly events: WorkerEvents,
  ) {
    const handlers = {
      answer: (name: string, head: Head, octets: Buffer) => this.#answer(name, head, octets),
      hear: (name: string, head: Head) => this.#hear(name, head),
      closed: (reason: string) => events.closed(reason),
    };
    this.channel = new Channel(stream, handlers, MAX_MESSAGE);
  }

  /** Connections of this worker. */
  get connections(): number {
    return this.#places.size;
  }

  /** The worker is gone: all it held is free. */
  release(): void {
    for (const held of [this.#places, this.#users, this.#attempts]) held.endAll();
  }

  #answer(name: string, head: Head, octets: Buffer): Answer | Promise<Answer> {
    const { shared } = this;
    switch (name) {
      case 'enter': {
        const place = shared.admission.enter(
          head.address === undefined ? undefined : textOf(head, 'address'),
        );
        return { head: 'refused' in place ? place : { place: this.#places.keep(place) } };
      }
      case 'count':
        return { head: { refused: this.#places.at(head, 'place').countFor(textOf(head, 'address')) } };
      case 'user': {
        const leave = shared.users.enter(textOf(head, 'user'));
        return { head: leave ? { place: this.#users.keep(leave) } : {} };
      }
      case 'begin':
        return this.#begin(head, octets);
      case 'password':
        return this.#checkPassword(head, octets);
      case 'proof':
        return this.#checkProof(head, octets);
      case 'provable':
        return this.#provable();
      case 'scram':
        return this.#scramChallenge(head, octets);
      default:
        throw new BadMessage(`${name} is no call`);
    }
  }

  #hear(name: string, head: Head): void {
    switch (name) {
      case 'leave':
        this.#places.end(head, 'place');
        this.events.left();
        return;
      case 'leave-user':
        this.#users.end(head, 'place');
        return;
      case 'failed':
      case 'succeeded':
      case 'abandoned':
        this.#attempts.take(head, 'attempt')[name]();
        return;
      default:
        this.events.heard(name);
    }
  }

  /**
   * Begins an attempt. A password that comes with it is checked at once if the attempt need not wait: then that is its
   * end, and whoever is let in is counted in.
   */
  #begin(head: Head, octets: Buffer): Answer | Promise<Answer> {
    const [user, password] = split(octets, countOf(head, 'length'));
    const begun = this.shared.throttle.begin(textOf(head, 'address'), user);
    if (begun === undefined) return { head: {} };
    const { wait } = begun;
    const attempt = this.#attempts.keep(begun);
    if (wait > 0 || head.port === undefined) return { head: { attempt, wait } };
    return this.#checkAtOnce(attempt, user, password, peerOf(head));
  }

  async #checkAtOnce(attempt: number, user: Buffer, password: Buffer, peer: Peer): Promise<Answer> {
    try {
      const verdict = await this.shared.authenticator.checkPassword(user, password, peer);
      if ('refused' in verdict) {
        this.#attempts.remove(attempt)?.failed();
        return { head: verdict };
      }
      const begun = this.#attempts.remove(attempt);
      begun?.succeeded();
      // Without an attempt the worker is gone, and gives nothing back any more.
      const leave = begun && this.shared.users.enter(verdict.account.user);
      return { head: { ...verdict, ...(leave && { place: this.#users.keep(leave) }) } };
    } catch (error) {
      this.#attempts.remove(attempt)?.abandoned();
      return { head: { trouble: writeError(error) } };
    }
  }

  async #checkPassword(head: Head, octets: Buffer): Promise<Answer> {
    const { authenticator } = this.shared;
    const [user, password] = split(octets, countOf(head, 'length'));
    return { head: await authenticator.checkPassword(user, password, peerOf(head)) };
  }

  async #checkProof(head: Head, octets: Buffer): Promise<Answer> {
    const verdict = await this.shared.authenticator.checkProof(proofOf(head, octets), peerOf(head));
    if ('refused' in verdict || verdict.serverSignature === undefined) return { head: verdict };
    return { head: { account: verdict.account }, octets: verdict.serverSignature };
  }

  async #provable(): Promise<Answer> {
    const { all, some } = await this.shared.authenticator.provable();
    return { head: { all: [...all], some: [...some] } };
  }

  async #scramChallenge(head: Head, user: Buffer): Promise<Answer> {
    const method = textOf(head, 'method');
    if (!SCRAM.has(method)) throw new BadMessage('no method of SCRAM');
    const { authenticator } = this.shared;
    const { salt, iterations } = await authenticator.scramChallenge(
      method as ScramMethod,
      user,
      peerOf(head),
    );
    return { head: { iterations }, octets: salt };
  }
}

/** What a worker holds, by numbers. */
class Held<T> {
  readonly #held = new Map<number, T>();
  #next = 0;

  constructor(private readonly over: (held: T) => void) {}

  get size(): number {
    return this.#held.size;
  }

  keep(item: T): number {
    this.#held.set(this.#next, item);
    return this.#next++;
  }

  /** @throws BadMessage when it is not held */
  at(head: Head, key: string): T {
    const item = this.#held.get(countOf(head, key));
    if (item === undefined) throw new BadMessage(`no such ${key}`);
    return item;
  }

  /** Undefined when it is held no more. */
  remove(number: number): T | undefined {
    const item = this.#held.get(number);
    this.#held.delete(number);
    return item;
  }

  take(head: Head, key: string): T {
    const item = this.at(head, key);
    this.#held.delete(countOf(head, key));
    return item;
  }

  end(head: Head, key: string): void {
    this.over(this.take(head, key));
  }

  endAll(): void {
    for (const item of this.#held.values()) this.over(item);
    this.#held.clear();
  }
}

function peerOf(head: Head): Peer {
  const via = head.via === undefined ? {} : { via: textOf(head, 'via') };
  return { address: textOf(head, 'address'), port: countOf(head, 'port'), ...via };
}

function split(octets: Buffer, length: number): [Buffer, Buffer] {
  if (length > octets.length) throw new BadMessage('length is beyond the end');
  return [octets.subarray(0, length), octets.subarray(length)];
}

function proofOf(head: Head, octets: Buffer): Proof {
  const method = textOf(head, 'method');
  const [user, rest] = split(octets, countOf(head, 'length'));
  if (DIGEST.has(method)) {
    const [challenge, digest] = [textOf(head, 'challenge'), textOf(head, 'digest')];
    return { method: method as 'APOP' | 'CRAM-MD5', user, challenge, digest };
  }
  if (!SCRAM.has(method)) throw new BadMessage('no method of a proof');
  const [authMessage, clientProof] = split(rest, countOf(head, 'messageLength'));
  return { method: method as ScramMethod, user, authMessage, clientProof };
}
