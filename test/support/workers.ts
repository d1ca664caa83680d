/**
 * The workers of a server (`--workers`), and how to have a chosen one accept a connection: all others are
 * stopped meanwhile, for whoever runs may take it.
 */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { Running } from './program.js';

/** Process ids, in the order they were started; waits until there are so many. */
export async function workersOf(server: Running, count: number): Promise<number[]> {
  const found = () => childrenOf(server.pid).filter(pid => /worker\.js/.test(read(`/proc/${pid}/cmdline`)));
  await expect.poll(() => found().length, { timeout: 10_000, interval: 10 }).toBe(count);
  return found();
}

/** Runs with these workers stopped. */
export async function withStopped<T>(workers: readonly number[], run: () => Promise<T>): Promise<T> {
  try {
    for (const pid of workers) process.kill(pid, 'SIGSTOP');
    const stopped = () => workers.every(pid => / T /.test(read(`/proc/${pid}/stat`)));
    await expect.poll(stopped, { timeout: 10_000, interval: 1 }).toBe(true);
    return await run();
  } finally {
    for (const pid of workers) process.kill(pid, 'SIGCONT');
  }
}

function childrenOf(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // It is gone.
  }
}
