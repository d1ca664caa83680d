/**
 * The mailbox that everything here is done to, the images it may have afterwards, and its state on disk,
 * which can be kept and put back with the same inode, so that one crash can be continued in many ways.
 */
import {
  appendFileSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { message } from '../support/mailbox.js';

/** Eight messages over several sectors, none of which begins on a sector's boundary. */
export const MESSAGES: readonly string[] = [1, 30, 3, 60, 2, 18, 40, 7].map((lines, i) =>
  message(i + 1, `line ${i + 1} of the text\n`.repeat(lines)),
);
export const OLD = MESSAGES.join('');

/** Which messages are deleted. */
export const DELETIONS: ReadonlyMap<string, readonly number[]> = new Map([
  ['first', [1]],
  ['last', [8]],
  ['middle', [4]],
  ['alternate', [1, 3, 5, 7]],
  ['all', [1, 2, 3, 4, 5, 6, 7, 8]],
  ['all but one', [1, 2, 3, 5, 6, 7, 8]],
]);

export const SHORT_DELIVERY = message('short', 'A\n');
/** Longer than all that any deletion frees, so that size alone tells nothing. */
export const LONG_DELIVERY = message('long', 'delivered meanwhile, at great length\n'.repeat(250));

/** The mailbox without the marked messages. */
export function without(marks: readonly number[]): string {
  return MESSAGES.filter((_, i) => !marks.includes(i + 1)).join('');
}

/** What is set aside for each user who deletes. */
export const PLAN_OCTETS = 64 * 1024;

/** Everything on the disk that outlives a crash. */
export interface DiskImage {
  readonly mailbox: Buffer;
  /** By path: dotlocks and temporary files of the spool, and all of the state directory. */
  readonly others: ReadonlyMap<string, Buffer>;
}

export class Scratch {
  readonly dir: string;
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly mailbox: string;
  readonly #ino: bigint;

  /**
   * @param root made if not given; everything below it belongs to this object
   * @param old what the mailbox begins with
   */
  constructor(
    readonly root: string = mkdtempSync(join(tmpdir(), 'mbox-pop3d-faults-')),
    private readonly old: string = OLD,
  ) {
    [this.dir, this.stateDir, this.runtimeDir] = ['spool', 'state', 'run'].map(name => join(root, name)) as [
      string,
      string,
      string,
    ];
    for (const dir of [this.dir, this.stateDir, this.runtimeDir]) mkdirSync(dir, { recursive: true });
    this.mailbox = join(this.dir, 'alice');
    writeFileSync(this.mailbox, old, { mode: 0o600 });
    this.#ino = lstatSync(this.mailbox, { bigint: true }).ino;
  }

  /** Gives all of it to another user; as root only. */
  giveTo({ uid, gid }: { readonly uid: number; readonly gid: number }): void {
    chownSync(this.root, uid, gid);
    for (const name of readdirSync(this.root, { recursive: true, encoding: 'utf8' })) {
      chownSync(join(this.root, name), uid, gid);
    }
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  content(): string {
    return readFileSync(this.mailbox, 'latin1');
  }

  /** As a delivery agent does, at a moment when no living process holds the locks. */
  deliver(octets: string): void {
    appendFileSync(this.mailbox, octets);
  }

  /** Names in the spool besides the mailbox. */
  beside(): string[] {
    return readdirSync(this.dir).filter(name => name !== 'alice');
  }

  /** Files in the user's state directory, each with its size. */
  state(): Map<string, number> {
    const dir = join(this.stateDir, 'alice');
    if (!existsSync(dir)) return new Map();
    return new Map(readdirSync(dir).map(name => [name, lstatSync(join(dir, name)).size]));
  }

  /** Whether there is a journal with anything in it, of either kind. */
  hasJournal(): boolean {
    return (this.state().get('journal') ?? 0) > 0 || this.hasPlan();
  }

  hasPlan(): boolean {
    const plan = join(this.stateDir, 'alice', 'journal.plan');
    return (
      existsSync(plan) &&
      readFileSync(plan)
        .subarray(0, 512)
        .some(octet => octet !== 0)
    );
  }

  /** Inode, owner, mode and link count are as they were made. */
  sameFile(): boolean {
    const now = lstatSync(this.mailbox, { bigint: true });
    return now.ino === this.#ino && now.nlink === 1n && (now.mode & 0o7777n) === 0o600n;
  }

  /**
   * Back to the beginning.
   * @param journal whether there are the empty journals of an UPDATE before: else this one makes the first
   */
  reset(journal = false): void {
    const empty = [
      ['journal', Buffer.alloc(0)],
      ['journal.plan', Buffer.alloc(PLAN_OCTETS)],
    ] as const;
    const others = journal
      ? empty.map(([name, octets]) => [join(this.stateDir, 'alice', name), octets] as const)
      : [];
    this.restore({ mailbox: Buffer.from(this.old), others: new Map(others) });
  }

  /** New content for the same file; the state stays. */
  reuse(content: string): void {
    writeFileSync(this.mailbox, content);
  }

  image(): DiskImage {
    const others = new Map<string, Buffer>();
    for (const name of this.beside()) others.set(join(this.dir, name), readFileSync(join(this.dir, name)));
    for (const name of this.state().keys()) {
      const path = join(this.stateDir, 'alice', name);
      others.set(path, readFileSync(path));
    }
    return { mailbox: readFileSync(this.mailbox), others };
  }

  restore({ mailbox, others }: DiskImage): void {
    for (const name of this.beside()) rmSync(join(this.dir, name));
    rmSync(join(this.stateDir, 'alice'), { recursive: true, force: true });
    writeFileSync(this.mailbox, mailbox);
    for (const [path, octets] of others) {
      mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
      writeFileSync(path, octets, { mode: path.startsWith(this.dir) ? 0o644 : 0o600 });
    }
  }
}
