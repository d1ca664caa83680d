/** A service manager's end of sd_notify(3): a real socket, which Node.js cannot make, in Python. */
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { scratchDir } from './mailbox.js';
import { python } from './python.js';

const PROGRAM = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
print('listening', flush=True)
while True: print(repr(s.recv(65536).decode()), flush=True)
`;

export class ServiceManager {
  #text = '';

  private constructor(
    /** NOTIFY_SOCKET for who is to tell it something. */
    readonly path: string,
    private readonly child: Awaited<ReturnType<typeof python>>,
  ) {
    child.stdout!.setEncoding('utf8').on('data', chunk => {
      this.#text += chunk;
    });
  }

  /** Until the end of the test. */
  static async start(): Promise<ServiceManager> {
    const dir = scratchDir();
    chmodSync(dir, 0o755); // Who tells it is another user.
    const path = join(dir, 'notify');
    return new ServiceManager(path, await python(PROGRAM, path));
  }

  /** Each datagram, in Python's notation. */
  said(): string[] {
    return this.#text.split('\n').filter(line => line !== '');
  }

  /** Waits for what it was told. */
  async until(done: (said: readonly string[]) => boolean): Promise<void> {
    while (!done(this.said())) await once(this.child.stdout!, 'data');
  }
}
