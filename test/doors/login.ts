/** One client of one process in a scratch host, started as inetd would, without an inetd. */
import { once } from 'node:events';
import { Nowait, type NowaitOptions } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { PASSWORD, type ScratchHost } from './scratch-host.js';

/** The octets of the password, as the client sends them. */
export const SECRET = Buffer.from(PASSWORD).toString('latin1');

/** A door of the host: root, nowait. @param how what runs the program instead of node */
export function nowait(
  host: ScratchHost,
  flags: readonly string[] = [],
  how: { wrapper?: readonly string[]; nodeFlags?: readonly string[] } & NowaitOptions = {},
): Promise<Nowait> {
  const { wrapper = [], nodeFlags = [], ...options } = how;
  const [node, ...rest] = host.program(...flags);
  return Nowait.start(host.inside([...wrapper, node!, ...nodeFlags, ...rest]), options);
}

/** What a login is answered, from the password on. */
export async function tryLogin(door: Nowait, user: string, secret = SECRET): Promise<string> {
  const client = await Pop3Client.greeted(door.port);
  try {
    await client.ok(`USER ${user}`);
    return await client.ask(`PASS ${secret}`);
  } finally {
    client.socket.end();
    await once(client.socket, 'close');
  }
}
