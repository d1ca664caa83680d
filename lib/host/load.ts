/**
 * Chooses the host once, at start: the native one, or the portable one with the reason why. Whether
 * the portable one is enough is the caller's decision (it is for `demo` and the library, not for `serve`).
 */
import type { Host } from './host.js';

export interface LoadedHost {
  readonly host: Host;
  /** Why the native host could not be had, in one line; undefined when it could. */
  readonly degraded?: string;
}

let loaded: Promise<LoadedHost> | undefined;

/** The host of this process; the same object at every call, because portable locks live in it. */
export function loadHost(): Promise<LoadedHost> {
  loaded ??= chooseHost(() => import('./linux.js').then(module => module.linuxHost));
  return loaded;
}

/** @param native loads the native host, or rejects */
export async function chooseHost(native: () => Promise<Host>): Promise<LoadedHost> {
  try {
    return { host: await native() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const { createPortableHost } = await import('./portable.js');
    return { host: createPortableHost(), degraded: reason.split('\n', 1)[0] ?? '' };
  }
}
