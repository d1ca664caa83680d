/**
 * Runs a server until a signal: SIGTERM or SIGINT drains, and so does SIGHUP when it means that our terminal
 * is gone; a daemon, which has none, reads its certificates again instead (daemon(7)). Draining: idle sessions
 * end without UPDATE, a reply in progress gets 30 s, an UPDATE always finishes. A second signal cuts what
 * is left, but never an UPDATE.
 */
import { isatty } from 'node:tty';
import type { Log } from '../log.js';
import type { TcpServer } from '../server/tcp.js';

/** Milliseconds a reply in progress gets. */
export const GRACE = 30_000;

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** What tells a server to stop: a signal, or what `stop` is called with. */
export class StopRequest {
  readonly #cause: Promise<string>;
  #resolve: (cause: string) => void = () => {};
  #again: (() => void) | undefined;
  /** What SIGHUP means, if it does not mean to stop. */
  #reload: (() => void) | undefined;

  /**
   * From now on no signal ends the process: to be made before anybody is told that we are ready.
   * @param hangup `reloads`: SIGHUP never stops a process without a terminal
   */
  constructor(hangup: 'stops' | 'reloads' = 'stops') {
    if (hangup === 'reloads' && !isatty(0) && !isatty(2)) this.#reload = () => {};
    this.#cause = new Promise(resolve => {
      this.#resolve = resolve;
    });
    for (const name of SIGNALS) {
      // Kept to the end: without any listener but its own, the signal-exit that proper-lockfile brings
      // would end the process by the signal, in the middle of an UPDATE.
      process.on(name, () => this.#signal(name));
    }
  }

  /** @param reload what a daemon does at SIGHUP, from now on */
  onHangup(reload: () => void): void {
    if (this.#reload) this.#reload = reload;
  }

  #signal(name: (typeof SIGNALS)[number]): void {
    if (name === 'SIGHUP' && this.#reload) this.#reload();
    else if (this.#again === undefined) this.stop(name);
    else this.#again();
  }

  /** @param cause for the log */
  stop(cause: string): void {
    this.#resolve(cause);
  }

  /** @returns the cause of the first request; `again` is called for signals after that */
  async first(again: () => void): Promise<string> {
    const cause = await this.#cause;
    this.#again = again;
    return cause;
  }
}

/**
 * Resolves when the server has stopped.
 * @param onStopping told when it begins to stop
 */
export async function runUntilStopped(
  server: Pick<TcpServer, 'cut' | 'connections' | 'close'>,
  log: Log,
  request: StopRequest,
  onStopping: () => void = () => {},
): Promise<void> {
  const cause = await request.first(() => server.cut());
  const { connections } = server;
  onStopping();
  const drained = server.close(GRACE);
  log.write('info', '-', 'stopping', { cause, connections });
  await drained;
  log.write('info', '-', 'stopped');
}
