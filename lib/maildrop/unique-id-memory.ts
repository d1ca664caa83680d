/**
 * The little that unique-ids need remembered. An id is a digest of the message itself, so nothing has
 * to be stored, but for one case: of several identical messages, one was deleted. The others must keep
 * the ids they had (design promise P6), and nothing in the mailbox file tells which of them is left.
 *
 * `STATE/USER/unique-ids` holds one line for each such identity: the digest and the ordinals that remain,
 * in file order. It is written before the messages go, so that a crash between leaves lines for messages
 * that are still there, which `assignUniqueIds` reads rightly: it takes a line as the first of them.
 */
import { constants } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../errors.js';
import { assignUniqueIds, type Ordinals, survivingOrdinals } from '../mbox/unique-id.js';
import { readFully, type SpoolIo, syncDirectory, writeFully } from './io.js';

const HEADER = 'mbox-pop3d unique-ids 1\n';
/** Many times what any mailbox can need; a larger file is not ours. Octets. */
const MAX_FILE = 16 * 1024 * 1024;

export class UniqueIdMemory {
  readonly #path: string;

  constructor(
    private readonly io: SpoolIo,
    /** `STATE/USER`; made when first needed. */
    stateDir: string,
  ) {
    this.#path = join(stateDir, 'unique-ids');
  }

  /** The unique-ids of messages with these identities, in file order. */
  async assign(identities: readonly string[]): Promise<readonly string[]> {
    return assignUniqueIds(identities, await this.load());
  }

  /** Whether anything is remembered. */
  async exists(): Promise<boolean> {
    return (await this.load()).size > 0;
  }

  /** Records, durably, what has to be known once the marked messages are gone. */
  async rememberSurvivors(identities: readonly string[], isMarked: (n: number) => boolean): Promise<void> {
    const before = await this.load();
    const after = survivingOrdinals(identities, before, isMarked);
    if (before.size > 0 || after.size > 0) await this.#save(after);
  }

  /** What is remembered. A file that is not ours is an error, not an empty memory: ids would change. */
  async load(): Promise<Ordinals> {
    const fd = await this.io.open(this.#path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(error => {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (fd === undefined) return new Map();
    try {
      const { size } = await this.io.fstat(fd);
      if (size > MAX_FILE) throw new Error(`${this.#path}: too large`);
      const buffer = Buffer.alloc(size);
      return parse(buffer.toString('latin1', 0, await readFully(this.io, fd, buffer, 0)), this.#path);
    } finally {
      await this.io.close(fd);
    }
  }

  /** Replaces the file as a whole: a crash leaves the old or the new one. */
  async #save(ordinals: Ordinals): Promise<void> {
    const { io } = this;
    const dir = dirname(this.#path);
    await io.mkdir(dir, 0o700);
    const temporary = `${this.#path}.new`;
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const fd = await io.open(temporary, flags, 0o600);
    try {
      const lines = [...ordinals].map(([identity, list]) => `${identity} ${list.join(' ')}\n`);
      await writeFully(io, fd, Buffer.from(HEADER + lines.join('')), 0);
      await io.sync(fd);
    } finally {
      await io.close(fd);
    }
    await io.rename(temporary, this.#path);
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
