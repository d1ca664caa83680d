/** The super-servers, each started in a scratch host on a port of 127.0.0.1, in the foreground. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.js';
import { type Kind, SERVICE } from './kinds.js';
import type { ScratchHost } from './scratch-host.js';

export { DOORS, type Kind } from './kinds.js';

export interface Door {
  readonly port: number;
  readonly superserver: ChildProcess;
  /** What came to standard output and error, of the super-server and of what it started. */
  said(): string;
}

/** Starts a super-server and waits until it listens. Ended, with all it has started, after the test. */
export async function openDoor(
  kind: Kind,
  host: ScratchHost,
  flags: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Door> {
  const port = await freePort();
  if (kind.asService) host.makeState(SERVICE);
  const [file, ...args] = host.inside(kind.command(host, port, flags));
  const superserver = spawn(file!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, ...env },
    // A process group of its own, so that what it started ends with it.
    detached: true,
  });
  let said = '';
  for (const stream of [superserver.stdout, superserver.stderr]) {
    stream.setEncoding('latin1').on('data', text => {
      said += text;
    });
  }
  onTestFinished(async () => {
    if (superserver.exitCode === null) {
      process.kill(-superserver.pid!, 'SIGKILL');
      await once(superserver, 'exit');
    }
  });
  // A connection would start the server: /proc tells without one.
  while (!(await listens(port))) {
    if (superserver.exitCode !== null) throw new Error(`${file} ended: ${said}`);
    await sleep(20);
  }
  return { port, superserver, said: () => said };
}

async function listens(port: number): Promise<boolean> {
  const address = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`;
  return (await readFile('/proc/net/tcp', 'latin1')).includes(address);
}
