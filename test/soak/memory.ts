/** The memory of a process over time: its resident set, and how it grows. */
import { readFileSync } from 'node:fs';

/** Milliseconds between two looks. */
const EVERY = 2000;

export class MemoryWatch {
  /** Minutes since the start, and MiB. */
  readonly #samples: [number, number][] = [];
  readonly #start = performance.now();
  readonly #timer: NodeJS.Timeout;

  constructor(pid: () => number | undefined) {
    this.#timer = setInterval(() => {
      const resident = residentOf(pid());
      if (resident !== undefined) this.#samples.push([(performance.now() - this.#start) / 60_000, resident]);
    }, EVERY);
  }

  /** The slope of the least squares line through all but the first third, when caches fill: MiB a minute. */
  end(): { slope: number; first: number; last: number; highest: number } {
    clearInterval(this.#timer);
    const samples = this.#samples.slice(Math.floor(this.#samples.length / 3));
    const mean = (which: 0 | 1) => samples.reduce((sum, sample) => sum + sample[which], 0) / samples.length;
    const [t, m] = [mean(0), mean(1)];
    const covariance = samples.reduce((sum, [minute, mib]) => sum + (minute - t) * (mib - m), 0);
    const variance = samples.reduce((sum, [minute]) => sum + (minute - t) ** 2, 0);
    return {
      slope: covariance / variance,
      first: samples[0]?.[1] ?? Number.NaN,
      last: samples.at(-1)?.[1] ?? Number.NaN,
      highest: Math.max(...this.#samples.map(([, mib]) => mib)),
    };
  }
}

function residentOf(pid: number | undefined): number | undefined {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;
  } catch {
    return undefined; // not running
  }
}
