/**
 * The workers of a server (`--workers`), and how to have a chosen one accept a connection: all others are
 * stopped meanwhile, for whoever runs may take it.
 */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { Pop3Client } from './pop3-client.js';
import type { Running } from './program.js';
import { passwordOf } from './real-server.js';
import { type ServePlaces, serving } from './serving.js';

export interface Pair {
  readonly server: Running;
  readonly port: number;
  /** Two processes: connections of the first, and of the second. */
  readonly workers: readonly [Worker, Worker];
}

export interface Worker {
  readonly pid: number;
  /** Runs while this one alone accepts. */
  alone<T>(run: () => Promise<T>): Promise<T>;
  /** A connection that this one has accepted, and what it was told first. */
  connect(from?: string): Promise<{ first: string; client: Pop3Client }>;
  greeted(): Promise<Pop3Client>;
  loggedIn(user: string): Promise<Pop3Client>;
}

/** A server with two workers. */
export async function pair(places: ServePlaces, flags: readonly string[] = []): Promise<Pair> {
  const { server, port } = await serving(places, ['--workers', '2', ...flags]);
  const [first, second] = (await workersOf(server, 2)) as [number, number];
  return { server, port, workers: [one(port, first, second), one(port, second, first)] };
}

/** A worker by its process id, and that of the other. */
export function one(port: number, pid: number, other: number): Worker {
  const alone: Worker['alone'] = run => withStopped([other], run);
  return {
    pid,
    alone,
    connect: (localAddress = '127.0.0.1') =>
      alone(async () => {
        const client = await Pop3Client.connect(port, { localAddress });
        return { first: await client.line(), client };
      }),
    greeted: () => alone(() => Pop3Client.greeted(port)),
    loggedIn: user => alone(() => Pop3Client.loggedIn(port, user, passwordOf(user))),
  };
}

/** Process ids, in the order they were started; waits until there are so many. */
export async function workersOf(server: Running, count: number): Promise<number[]> {
  const found = () => childrenOf(server.pid).filter(pid => /worker\.js/.test(read(`/proc/${pid}/cmdline`)));
  await expect.poll(() => found().length, { timeout: 30_000, interval: 10 }).toBe(count);
  return found();
}

/** Runs with these workers stopped. */
export async function withStopped<T>(workers: readonly number[], run: () => Promise<T>): Promise<T> {
  try {
    for (const pid of workers) process.kill(pid, 'SIGSTOP');
    const stopped = () => workers.every(pid => / T /.test(read(`/proc/${pid}/stat`)));
    await expect.poll(stopped, { timeout: 30_000, interval: 1 }).toBe(true);
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
