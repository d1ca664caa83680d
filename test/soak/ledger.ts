/**
 * The books of one mailbox: what was handed to agents, what they have delivered, what sessions have seen, and what
 * they, or the mail readers, have deleted. Sessions exclude each other, so what one sees at login is all there is
 * at that moment, and every message must be accounted for:
 *
 *   - delivered before the login and not deleted: there, once;
 *   - deleted by a session whose QUIT was answered with +OK: gone for ever;
 *   - of a session that was killed after QUIT: all gone, or all there;
 *   - of a session that did not say QUIT: all there.
 */
import type { Mail, Reader } from './messages.js';

type State = 'handed-over' | 'delivered' | 'gone';

interface Entry {
  readonly reader: Reader;
  readonly digest: string;
  state: State;
  uniqueId?: string;
}

/** A message as a session has read it. */
export interface Sighting {
  readonly id: string;
  readonly digest: string;
  readonly uniqueId: string;
}

export class Ledger {
  readonly #entries = new Map<string, Entry>();
  /** Delivered, in this order; a session remembers how many there were when it logged in. */
  readonly #delivered: string[] = [];
  /** Those of `#delivered` before here are gone. */
  #settled = 0;
  /** What a session has asked to delete that did not learn the outcome. */
  #unclear: ReadonlySet<string> | undefined;
  /** What a mail reader was to delete, missing since, and not yet confirmed by it. */
  readonly #missing = new Set<string>();
  /** What a mail reader has read whole, and then tried to delete. */
  readonly #takenOut = new Map<string, Reader>();
  /** Sessions that did not learn the outcome of their QUIT. */
  #interruptions = 0;
  /** What happened to the messages of mail readers: a loss is theirs or ours, and this says whose. */
  readonly #course = new Map<string, { at: number; there: boolean }[]>();
  readonly #readers: { at: number; text: string }[] = [];
  /** Seen by a session, and not gone. */
  readonly #alive = new Set<string>();
  readonly errors: string[] = [];
  /** What helps to explain the errors. */
  readonly told: string[] = [];
  readonly deletedBy = new Map<string, number>();
  retrieved = 0;

  constructor(readonly user: string) {}

  handOver({ id, reader, digest }: Mail): void {
    this.#entries.set(id, { reader, digest, state: 'handed-over' });
    if (reader !== 'pop3') this.#course.set(id, []);
  }

  /** What a mail reader has done; told when a message of its is lost. */
  readerDid(text: string): void {
    this.#readers.push({ at: Date.now(), text });
  }

  delivered(id: string): void {
    const entry = this.#entries.get(id)!;
    // A session may have deleted it before we heard from the agent.
    if (entry.state === 'handed-over') entry.state = 'delivered';
    this.#delivered.push(id);
  }

  /** To be asked before logging in, and given to `look`. */
  get mark(): number {
    return this.#delivered.length;
  }

  get deliveries(): number {
    return this.#delivered.length;
  }

  /** Messages that should be in the mailbox, about. */
  get present(): number {
    let gone = 0;
    for (const count of this.deletedBy.values()) gone += count;
    return this.#delivered.length - gone;
  }

  readerOf(id: string): Reader | undefined {
    return this.#entries.get(id)?.reader;
  }

  /** All messages that a session has found at login. @param mark taken before the login */
  look(sightings: readonly Sighting[], mark: number): void {
    const present = new Set<string>();
    for (const sighting of sightings) {
      if (present.has(sighting.id)) this.#error(`${sighting.id} is there twice`);
      present.add(sighting.id);
      this.#sight(sighting);
    }
    this.#settle(present);
    for (const [id, course] of this.#course) {
      const there = present.has(id);
      if (there !== (course.at(-1)?.there ?? false)) course.push({ at: Date.now(), there });
    }
    for (let n = this.#settled; n < mark; n++) this.#mustBeAccountedFor(this.#delivered[n]!, present);
    for (const id of this.#alive) if (!present.has(id)) this.#mustBeAccountedFor(id, present);
    while (this.#settled < this.#delivered.length && this.#isGone(this.#delivered[this.#settled]!))
      this.#settled++;
  }

  /** The server has said +OK to QUIT. */
  removed(ids: Iterable<string>): void {
    for (const id of ids) this.#gone(id, 'pop3');
  }

  /** A session that did not learn the outcome of its QUIT. */
  maybeRemoved(ids: ReadonlySet<string>): void {
    if (ids.size === 0) return;
    if (this.#unclear) throw new Error('two sessions at a time');
    this.#unclear = ids;
    this.#interruptions++;
  }

  /**
   * Whether the mailbox is as an UPDATE left it that was killed: until our next login has finished that, programs
   * without a dotlock see some messages twice or in part. A number other than the one given says that it was so since.
   */
  get interruptions(): number {
    return this.#unclear === undefined ? this.#interruptions : -this.#interruptions;
  }

  /**
   * What a mail reader has read whole and then deleted; it may have failed at that.
   * @returns those that were not for this reader: it has them, but it has taken one for another
   */
  takenOut(sightings: readonly { id: string; digest: string }[], reader: Reader): string[] {
    const mistaken: string[] = [];
    for (const { id, digest } of sightings) {
      const entry = this.#entries.get(id);
      if (entry === undefined || entry.digest !== digest) {
        this.#error(`${id}, which ${reader} has taken out, is none of ours`);
        continue;
      }
      if (entry.reader !== reader) mistaken.push(id);
      this.#takenOut.set(id, reader);
      if (this.#missing.delete(id)) this.#gone(id, reader);
    }
    return mistaken;
  }

  problem(text: string): void {
    this.#error(text);
  }

  /** At the end: nothing may be open. */
  close(): void {
    for (const id of this.#missing) {
      this.#error(`${id} is lost: missing, and ${this.readerOf(id)} has not taken it out`);
      this.#tellCourse(id);
    }
    if (this.#unclear) this.#error(`${this.#unclear.size} deletions were never cleared up`);
  }

  /** When it was there and when not, and what the mail readers did from a minute before it was gone. */
  #tellCourse(id: string): void {
    const course = this.#course.get(id) ?? [];
    const gone = course.at(-1)?.at ?? 0;
    const seen = course.map(({ at, there }) => `${time(at)} ${there ? 'there' : 'not there'}`).join(', ');
    const did = this.#readers.filter(({ at }) => at > gone - 60_000 && at < gone + 60_000);
    this.told.push(`${id}: ${seen}`, ...did.map(({ at, text }) => `  ${time(at)} ${text}`));
  }

  #sight({ id, digest, uniqueId }: Sighting): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) {
      this.#error(`${id} was never handed over`);
      return;
    }
    this.retrieved++;
    if (entry.state === 'gone') this.#error(`${id} was deleted, and is there again`);
    if (this.#missing.has(id)) this.#error(`${id} was missing, and is there again`);
    if (entry.digest !== digest) this.#error(`${id} has another digest`);
    if (entry.uniqueId !== undefined && entry.uniqueId !== uniqueId) {
      this.#error(`${id} was ${entry.uniqueId} and is ${uniqueId} now`);
    }
    entry.uniqueId = uniqueId;
    this.#alive.add(id);
  }

  /** All or nothing. */
  #settle(present: ReadonlySet<string>): void {
    const unclear = this.#unclear;
    if (unclear === undefined) return;
    this.#unclear = undefined;
    const left = [...unclear].filter(id => present.has(id));
    if (left.length === unclear.size) return;
    if (left.length > 0) this.#error(`a session removed ${unclear.size - left.length} of ${unclear.size}`);
    for (const id of unclear) if (!present.has(id)) this.#gone(id, 'pop3, killed');
  }

  #mustBeAccountedFor(id: string, present: ReadonlySet<string>): void {
    if (present.has(id)) return;
    const entry = this.#entries.get(id)!;
    if (entry.state === 'gone' || this.#missing.has(id)) return;
    const reader = this.#takenOut.get(id);
    if (reader !== undefined) this.#gone(id, reader);
    else if (entry.reader !== 'pop3') this.#missing.add(id);
    else {
      this.#error(`${id} is lost`);
      this.#gone(id, 'lost');
    }
  }

  #isGone(id: string): boolean {
    return this.#entries.get(id)!.state === 'gone';
  }

  #gone(id: string, by: string): void {
    const entry = this.#entries.get(id)!;
    if (entry.state === 'gone') return;
    entry.state = 'gone';
    this.#alive.delete(id);
    this.#course.delete(id);
    this.deletedBy.set(by, (this.deletedBy.get(by) ?? 0) + 1);
  }

  #error(text: string): void {
    this.errors.push(`${this.user}: ${text}`);
    process.stderr.write(`LEDGER: ${this.user}: ${text}\n`);
  }
}

function time(at: number): string {
  return new Date(at).toISOString().slice(11, 23);
}
