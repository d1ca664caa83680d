/**
 * One signal stops all that a server does for its clients. Each would be one of many listeners of the signal, in a list
 * that has to be gone through to take one out, and in which those that are out lead to the next (`Roster`).
 */
import { Roster } from './roster.js';

interface Stoppable {
  stop(): void;
}

const STOPPABLE = new WeakMap<AbortSignal, Roster<Stoppable>>();

/** Those that are stopped when the signal comes; one that comes later has to look at it itself. */
export function stoppableBy(signal: AbortSignal): Roster<Stoppable> {
  const known = STOPPABLE.get(signal);
  if (known !== undefined) return known;
  const all = new Roster<Stoppable>();
  STOPPABLE.set(signal, all);
  const stop = () => {
    for (const one of all) one.stop();
  };
  signal.addEventListener('abort', stop, { once: true });
  return all;
}
