/**
 * How long a client has kept us waiting: since we began to wait for it, it has neither sent a command nor
 * taken any output. What the kernel has taken from us is not yet with the client (megabytes, on a slow
 * line), so the kernel is asked what the other end has acknowledged. RFC 1939 §3 (autologout).
 *
 * Invariant: never longer than it was; 0 while the client waits for us.
 */
import type { Duplex } from 'node:stream';
import type { Acknowledged } from '../host/host.js';
import { descriptorOf } from './socket.js';

/** Asks the kernel about a descriptor: `Host.acknowledged`. */
export type AskKernel = (fd: number) => Acknowledged | undefined;

export class Silence {
  private waiting = false;
  private since = 0;
  private octets: number | undefined;

  constructor(
    private readonly stream: Duplex,
    private readonly askKernel: AskKernel,
  ) {}

  /** From now on we wait for the client. */
  begin(): void {
    this.waiting = true;
    this.heard();
    // Asked at the first look only, since that is a system call and most waits are short.
    this.octets = undefined;
  }

  /** The client has taken some output. */
  heard(): void {
    this.since = performance.now();
  }

  /** The client waits for us again. */
  end(): void {
    this.waiting = false;
  }

  /**
   * In ms. To be asked now and then: what the other end has acknowledged last counts, if that was something
   * new since the last time, or this is the first. (A full buffer is acknowledged again and again.)
   */
  length(): number {
    if (!this.waiting) return 0;
    const now = performance.now();
    const seen = this.acknowledged();
    if (seen !== undefined && seen.octets !== this.octets) {
      this.octets = seen.octets;
      this.since = Math.max(this.since, now - seen.ago);
    }
    return now - this.since;
  }

  private acknowledged(): Acknowledged | undefined {
    const fd = descriptorOf(this.stream);
    return fd === undefined ? undefined : this.askKernel(fd);
  }
}
