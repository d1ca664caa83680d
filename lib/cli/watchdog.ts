/**
 * The watchdog of a service manager, `WatchdogSec=` in systemd.service(5): it is told at half the interval that the
 * event loop turns. If that hangs, so does everybody who is served, and the manager kills and replaces the process; what
 * it was writing is finished from its journal. A disk that takes minutes for fsync(2) is no such thing: it is waited for
 * beside the event loop. sd_watchdog_enabled(3).
 */
import type { Host } from '../host/host.js';

/** What the manager says of it, as it sets it. */
interface Environment {
  WATCHDOG_USEC?: string | undefined;
  WATCHDOG_PID?: string | undefined;
}

/** @returns how often to tell it, in ms; undefined when nobody waits for us */
export function watchdogInterval({ WATCHDOG_USEC, WATCHDOG_PID }: Environment): number | undefined {
  // Of the process that it means: a parent of ours, maybe, which did not take it away.
  if (WATCHDOG_PID !== undefined && WATCHDOG_PID !== String(process.pid)) return undefined;
  if (WATCHDOG_USEC === undefined || !/^[1-9]\d{0,15}$/.test(WATCHDOG_USEC)) return undefined;
  // A timer takes no more than 31 bits.
  return Math.min(Math.max(1, Math.floor(Number(WATCHDOG_USEC) / 2000)), 2 ** 31 - 1);
}

/**
 * Begins to tell it, at once.
 * @param environment is ours alone: no child of ours is to do the same
 * @returns ends it
 */
export function feedWatchdog(host: Pick<Host, 'notify'>, environment: Environment = process.env): () => void {
  const interval = watchdogInterval(environment);
  delete environment.WATCHDOG_USEC;
  delete environment.WATCHDOG_PID;
  if (interval === undefined) return () => {};
  const alive = () => host.notify('WATCHDOG=1');
  alive();
  const timer = setInterval(alive, interval).unref();
  return () => clearInterval(timer);
}
