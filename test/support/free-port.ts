/**
 * Ports for other people's programs, which must be told one. Without a test framework: the contention soak uses it, too.
 */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';

/** Below them are those of a system's services. */
const LOWEST = 10_000;

/**
 * A port of 127.0.0.1 that nobody has. Not one of those that the kernel gives to whoever asks for any (ip(7)): until
 * the program listens, a connection of another test could have got it.
 */
export async function freePort(): Promise<number> {
  const [given] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1').split('\t').map(Number);
  for (;;) {
    const port = await tryPort(given! > LOWEST ? randomInt(LOWEST, given!) : 0);
    if (port !== undefined) return port;
  }
}

/** @returns the port, 0 meaning any, or undefined if somebody has it */
async function tryPort(wanted: number): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen(wanted, '127.0.0.1');
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
    throw error;
  }
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
