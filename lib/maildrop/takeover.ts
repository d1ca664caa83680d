/**
 * Takeover: a client that vanished without a word must not keep its user out. A new session of the same
 * user, who has proved who he is, asks the session that has the maildrop; that one gives way if its client
 * has been silent for long enough, and never in the UPDATE state. One Unix socket for all sessions of a
 * process, named in the record of each session lock; there while there are sessions, and on a busy server for a moment
 * after the last, since the next is about to come.
 *
 * Invariants: whoever gave way never runs UPDATE; a process that does not answer keeps what it has; only
 * the session lock says who has a maildrop, an answer is but a hint to try it again. Who may connect is
 * for the file system: the directory, and a socket nobody else may write to (umask 077).
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, existsSync, lstatSync, openSync, unlinkSync } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Disconnected, errnoOf } from '../errors.js';
import type { Log } from '../log.js';
import type { Account, Holder, Peer } from '../pop3/ports.js';

/** How long an answer is waited for, milliseconds. */
const ANSWER_WITHIN = 2000;

/** A socket that is wanted again so soon after it was removed stays for as long after its last session, milliseconds. */
const STAYS = 1000;

/** sun_path of unix(7) holds 108 octets on Linux, 104 on others, one of them NUL. */
const MAX_PATH = 103;

const NAME = /^[0-9a-f]{16}\.socket$/;

/** Who has made a socket listens at it long before that, milliseconds. */
const LISTENS_WITHIN = 2000;

// The zone of an IPv6 address may be any name of an interface.
const REQUEST = /^([0-9a-f]{1,64}) ([!-~]{1,64})\n$/;
/** More than any request, characters. */
const MAX_REQUEST = 256;

/** Who has a maildrop. */
export interface Claim {
  readonly account: Account;
  readonly peer: Peer;
  readonly holder: Holder;
}

/** A session that may be asked to give way. */
export interface Hold {
  /** The name of the socket to ask at; undefined when there is none, and so no takeover. */
  readonly socket: Promise<string | undefined>;
  /** The session enters the UPDATE state. @throws Disconnected when it has been ended */
  beginUpdate(): void;
  /** The session is over; its lock is still to be given back. @returns what to call after that */
  release(): () => void;
}

class Held {
  /** `updating`: it will be over soon, and is not ended; `yielded`: it was ended. */
  state: 'open' | 'updating' | 'yielded' = 'open';
  released: () => void = () => {};
  readonly end = new Promise<void>(resolve => {
    this.released = resolve;
  });

  constructor(public claim: Claim | undefined) {}
}

/** Those that have a socket: it goes with the process. */
const listening = new Set<Takeover>();
process.on('exit', () => {
  for (const takeover of listening) takeover.close();
});

export class Takeover {
  readonly #held = new Map<string, Held>();
  /** When we removed our last socket. */
  #removed = Number.NEGATIVE_INFINITY;
  /** Whether it was wanted again soon. */
  #busy = false;
  #closing: NodeJS.Timeout | undefined;
  #server: { readonly listener: Server; readonly name: string } | undefined;
  #socket: Promise<string | undefined> | undefined;

  /**
   * @param dir of the session locks
   * @param after milliseconds of silence; 0: nobody gives way
   */
  constructor(
    private readonly dir: string,
    private readonly after: number,
    private readonly log: Log,
  ) {}

  /** That of our own socket, while there is one. */
  get socketName(): string | undefined {
    return this.#server?.name;
  }

  /**
   * From now on this session can be asked.
   * @param name of the session lock, which is its own
   */
  hold(name: string, claim: Claim): Hold {
    const held = new Held(claim);
    if (this.after > 0) {
      this.#held.set(name, held);
      // Of a busy server it is there for ever: it may have been removed (by a human, by tmpfiles.d(5)).
      if (this.#server !== undefined && !existsSync(`${this.dir}/${this.#server.name}`)) {
        this.close();
        this.#removed = Number.NEGATIVE_INFINITY;
      }
      this.#socket ??= this.#listen();
    }
    return {
      socket: this.#socket ?? Promise.resolve(undefined),
      beginUpdate: () => {
        if (held.state === 'yielded') throw new Disconnected('taken over');
        held.state = 'updating';
      },
      release: () => {
        this.#held.delete(name);
        // An old table of the Map, which V8 may keep for long, leads to `held`, but no further.
        held.claim = undefined;
        if (this.#held.size === 0) this.#leave();
        return held.released;
      },
    };
  }

  /** Asks the session that has the lock `name` to give way. @returns whether the lock is to be had now */
  ask(socketName: string, name: string, by: Peer): Promise<boolean> {
    if (this.after === 0) return Promise.resolve(false);
    return new Promise(resolve => {
      let answer = '';
      const socket = shortPath(this.dir, socketName, path => connect({ path }));
      const timer = setTimeout(() => socket.destroy(), ANSWER_WITHIN);
      socket.setEncoding('latin1').on('data', text => {
        answer += text;
      });
      // Whatever goes wrong: nobody is there to give way.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        clearTimeout(timer);
        resolve(answer === 'yes\n');
      });
      socket.write(`${name} ${by.address}\n`);
    });
  }

  /**
   * Removes the sockets that processes which were killed have left: no session record may name them any more.
   * @returns how many
   * @throws errors of reading the directory
   */
  async removeDead(): Promise<number> {
    let count = 0;
    try {
      for await (const { name } of await opendir(this.dir)) {
        if (NAME.test(name) && this.#isOld(name) && (await this.removeIfDead(name))) count++;
      }
    } catch (error) {
      if (!['EACCES', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
    }
    return count;
  }

  #isOld(socketName: string): boolean {
    const stat = lstatSync(join(this.dir, socketName), { throwIfNoEntry: false });
    return stat?.isSocket() === true && Math.abs(Date.now() - stat.mtimeMs) > LISTENS_WITHIN;
  }

  /**
   * Removes the socket of a process that is gone. For who has the session lock that named it, or when it is old.
   * @returns whether it was one
   */
  async removeIfDead(socketName: string): Promise<boolean> {
    const error = await new Promise<unknown>(resolve => {
      const socket = shortPath(this.dir, socketName, path => connect({ path }));
      socket.on('connect', () => socket.destroy());
      socket.on('error', resolve);
      socket.on('close', () => resolve(undefined));
    });
    return errnoOf(error) === 'ECONNREFUSED' && this.#unlink(socketName);
  }

  /** Rejects never: sessions are served without takeover then. */
  async #listen(): Promise<string | undefined> {
    const name = `${randomBytes(8).toString('hex')}.socket`;
    const server = createServer({ allowHalfOpen: true }, socket => this.#answer(socket));
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('listening', resolve).once('error', reject);
        // exclusive: workers of node:cluster would share it otherwise.
        shortPath(this.dir, name, path => server.listen({ path, exclusive: true }));
      });
    } catch (error) {
      this.#socket = undefined;
      this.log.write('warn', '-', 'takeover-off', { reason: String(error) });
      return undefined;
    }
    server.on('error', error => this.log.write('error', '-', 'takeover-failed', { reason: String(error) }));
    server.unref();
    this.#server = { listener: server, name };
    listening.add(this);
    this.#busy = performance.now() - this.#removed < STAYS;
    if (this.#held.size === 0) this.#leave();
    return name;
  }

  /** No session is left. */
  #leave(): void {
    if (this.#busy) {
      this.#closing ??= setTimeout(() => {
        this.#closing = undefined;
        if (this.#held.size === 0) this.close();
      }, STAYS).unref();
    } else this.close();
  }

  /** Removes the socket; the next session makes another. */
  close(): void {
    clearTimeout(this.#closing);
    this.#closing = undefined;
    if (this.#server === undefined) return;
    listening.delete(this);
    this.#removed = performance.now();
    this.#server.listener.close();
    this.#unlink(this.#server.name);
    this.#server = undefined;
    this.#socket = undefined;
  }

  /** @returns whether it is gone by that */
  #unlink(socketName: string): boolean {
    try {
      unlinkSync(join(this.dir, socketName));
      return true;
    } catch (error) {
      // EACCES: a process that has become its user. The next session of that mailbox removes it.
      if (!['ENOENT', 'EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) {
        this.log.write('warn', '-', 'takeover-failed', { reason: String(error) });
      }
      return false;
    }
  }

  #answer(socket: Socket): void {
    let request = '';
    socket.on('error', () => socket.destroy());
    socket.setTimeout(2 * ANSWER_WITHIN, () => socket.destroy());
    socket.setEncoding('latin1').on('data', async text => {
      request += text;
      const match = REQUEST.exec(request);
      if (match !== null) {
        const [, name = '', by = ''] = match;
        const free = await this.#giveWay(name, by, () => socket.readableEnded || socket.destroyed);
        socket.end(free ? 'yes\n' : 'no\n');
      } else if (request.includes('\n') || request.length > MAX_REQUEST) socket.destroy();
    });
    socket.on('end', () => {
      if (!request.includes('\n')) socket.destroy();
    });
  }

  /** @returns whether the lock is to be had now */
  async #giveWay(name: string, by: string, gone: () => boolean): Promise<boolean> {
    // This process may have been stopped: whatever has come meanwhile is read first, from the client, and
    // whether the other one has given up. The turn of the event loop in which the question was read may end
    // without reading more of the same socket (it does with libuv 1.52); the next one does not.
    for (let turn = 0; turn < 2; turn++) await new Promise(resolve => setImmediate(resolve));
    const held = this.#held.get(name);
    if (held === undefined) return true;
    if (held.state === 'open' && held.claim !== undefined) {
      const { account, peer, holder } = held.claim;
      const silent = holder.silence();
      if (silent < this.after || gone()) return false;
      held.state = 'yielded';
      this.log.write('info', peer.address, 'taken-over', {
        user: account.user,
        by,
        silent: Math.round(silent / 1000),
      });
      holder.cut();
    }
    await held.end;
    return true;
  }
}

/** Calls `use` with a path to `name` that fits into an address; for a long directory through its descriptor. */
function shortPath<T>(dir: string, name: string, use: (path: string) => T): T {
  const path = join(dir, name);
  if (Buffer.byteLength(path) <= MAX_PATH) return use(path);
  // bind(2) and connect(2) are called before `use` returns.
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return use(`/proc/self/fd/${fd}/${name}`);
  } finally {
    closeSync(fd);
  }
}
