/**
 * The little that unique-ids need remembered. An id is a digest of the message itself, so nothing has
 * to be stored, but for one case: of several identical messages, one was deleted. The others must keep
 * the ids they had (design promise P6), and nothing in the mailbox file tells which of them is left.
 *
 * `STATE/USER/unique-ids` holds one line for each such identity: the digest and the ordinals that remain,
 * in file order. What will be true after an UPDATE is written to `unique-ids.next` before the messages
 * go, and takes the place of the other when they are gone. After a crash, or a failure, in between, the
 * number of messages of an identity tells which of the two is true of it.
 */
import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../errors.js';
import { assignUniqueIds, type Ordinals, surelyDiffer, survivingOrdinals } from '../mbox/ordinals.js';
import { hexadecimal } from '../mbox/unique-id.js';
import { readFully, type SpoolIo, syncDirectory, writeFully } from './io.js';

const HEADER = 'mbox-pop3d unique-ids 1\n';
/** Many times what any mailbox can need; a larger file is not ours. Octets. */
const MAX_FILE = 16 * 1024 * 1024;

export class UniqueIdMemory {
  readonly #path: string;
  readonly #next: string;

  constructor(
    private readonly io: SpoolIo,
    /** `STATE/USER`; made when first needed. */
    stateDir: string,
  ) {
    this.#path = `${stateDir}/unique-ids`;
    this.#next = `${this.#path}.next`;
  }

  /** The unique-ids of messages with these identities, which lie behind each other, in file order. */
  async assign(identities: Buffer): Promise<readonly string[]> {
    const digits = hexadecimal(identities);
    const ordinals = await this.#ordinalsOf(digits);
    return ordinals.size === 0 && surelyDiffer(identities) ? digits : assignUniqueIds(digits, ordinals);
  }

  /** Whether anything is remembered. */
  async exists(): Promise<boolean> {
    return (await this.#load(this.#path)).size > 0 || (await this.#load(this.#next)).size > 0;
  }

  /**
   * Writes down, durably, what has to be known once the marked messages are gone.
   * @returns whether there is anything: then `commit` has to follow
   */
  async prepare(all: Buffer, isMarked: (n: number) => boolean): Promise<boolean> {
    const identities = hexadecimal(all);
    const before = await this.#ordinalsOf(identities);
    const after = survivingOrdinals(identities, before, isMarked);
    const knew = await this.exists();
    // The first of them stays, say. A disk that is full has no room for what need not be said.
    if (!knew && after.size === 0) return false;
    if (knew) await this.#save(this.#path, before);
    await this.#save(this.#next, after);
    return true;
  }

  /** The messages are gone. */
  async commit(): Promise<void> {
    await this.io.rename(this.#next, this.#path);
    await syncDirectory(this.io, dirname(this.#path));
  }

  /** What is true of messages with these identities. */
  async #ordinalsOf(identities: readonly string[]): Promise<Ordinals> {
    const [now, next] = [await this.#load(this.#path), await this.#load(this.#next)];
    if (next.size === 0) return now;
    const counts = new Map<string, number>();
    for (const identity of identities) counts.set(identity, (counts.get(identity) ?? 0) + 1);
    const gone = [...next].filter(([identity, list]) => counts.get(identity) === list.length);
    return new Map([...now, ...gone]);
  }

  /** What is remembered. A file that is not ours is an error, not an empty memory: ids would change. */
  async #load(path: string): Promise<Ordinals> {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const fd = await this.io.open(path, flags).catch(error => {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (fd === undefined) return new Map();
    try {
      const { size, kind } = await this.io.fstat(fd);
      if (kind !== 'file') throw new Error(`${path}: not a file`);
      if (size > MAX_FILE) throw new Error(`${path}: too large`);
      const buffer = Buffer.alloc(size);
      return parse(buffer.toString('latin1', 0, await readFully(this.io, fd, buffer, 0)), path);
    } finally {
      await this.io.close(fd);
    }
  }

  /** Replaces the file as a whole: a crash leaves the old or the new one. */
  async #save(path: string, ordinals: Ordinals): Promise<void> {
    const { io } = this;
    const dir = dirname(path);
    await io.mkdir(dir, 0o700);
    const temporary = `${path}.new`;
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const fd = await io.open(temporary, flags, 0o600);
    try {
      const lines = [...ordinals].map(([identity, list]) => `${identity} ${list.join(' ')}\n`);
      await writeFully(io, fd, Buffer.from(HEADER + lines.join('')), 0);
      await io.sync(fd);
    } finally {
      await io.close(fd);
    }
    await io.rename(temporary, path);
    await syncDirectory(io, dir);
  }
}

function parse(text: string, path: string): Ordinals {
  if (!text.startsWith(HEADER)) throw new Error(`${path}: not a unique-id memory of this version`);
  const ordinals = new Map<string, number[]>();
  for (const line of text.slice(HEADER.length).split('\n')) {
    if (line === '') continue;
    if (!/^[0-9a-f]{32}( [1-9][0-9]{0,9})+$/.test(line)) throw new Error(`${path}: malformed line`);
    const [identity, ...list] = line.split(' ');
    ordinals.set(identity!, list.map(Number));
  }
  return ordinals;
}
