/** Tells when nobody has been connected for a while: a server that inetd or systemd started leaves then. */

export interface IdleOptions {
  /** Milliseconds; 0 for never. */
  readonly after: number;
  readonly leave: () => void;
}

export class IdleWatch {
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param connections how many there are now */
  constructor(
    private readonly options: IdleOptions,
    private readonly connections: () => number,
  ) {}

  /** Starts the time again, unless somebody is connected: to be called at the start, and when somebody has left. */
  look(): void {
    const { after, leave } = this.options;
    clearTimeout(this.#timer);
    // Once the end has begun a timer would only keep the process.
    if (after === 0 || this.connections() > 0 || this.#closed) return;
    this.#timer = setTimeout(() => {
      if (this.connections() === 0) leave();
    }, after);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}
