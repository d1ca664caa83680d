/**
 * A super-server of the tests' own: like inetd's `nowait`, each connection becomes descriptors 0, 1 and 2
 * of a process of its own, and is closed here.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface NowaitOptions {
  /** All of the environment; inetd gives none to speak of. */
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  /** An AF_UNIX socket to listen on instead of a port. */
  readonly path?: string;
}

export class Nowait {
  /** In the order of their connections. */
  readonly children: ChildProcess[] = [];

  private constructor(readonly port: number) {}

  /** Listens until the test is over; processes that are left are killed then. */
  static async start(argv: readonly string[], options: NowaitOptions = {}): Promise<Nowait> {
    const { path, ...how } = options;
    const server = createServer({ pauseOnConnect: true });
    server.listen(path === undefined ? { port: 0, host: '127.0.0.1' } : { path });
    await once(server, 'listening');
    const door = new Nowait(path === undefined ? (server.address() as AddressInfo).port : 0);
    server.on('connection', (socket: Socket) => {
      const [file, ...args] = argv;
      const child = spawn(file!, args, { env: {}, cwd: '/', ...how, stdio: [socket, socket, socket] });
      socket.destroy();
      door.children.push(child);
    });
    onTestFinished(async () => {
      server.close();
      for (const child of door.children) child.kill('SIGKILL');
      await door.exits();
    });
    return door;
  }

  /** Exit codes, or the signal, of all processes started so far, once all have ended. */
  async exits(): Promise<(number | string | null)[]> {
    return Promise.all(
      this.children.map(async child => {
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
        return child.exitCode ?? child.signalCode;
      }),
    );
  }
}
