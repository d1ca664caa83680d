/**
 * Every way in which an UPDATE can be interrupted, and every way in which the recovery from that can be:
 *
 *   UPDATE, crash, delivery A, recovery, crash, delivery B, recovery
 *
 * where a crash is a kill (all that was written stays, the last call perhaps in part, un-synced still) or
 * a power cut (any of the un-synced changes are lost), after every call that changes anything, after the
 * last one too. Then the mailbox must be NEW ++ A ++ B, or OLD ++ A ++ B if the client was not told +OK.
 *
 * A world seen before leads to the same end: recoveries are run once for each distinct world.
 */

import type { RecoveryReport } from '../../lib/maildrop/found-journal.js';
import { SECTOR } from '../../lib/maildrop/journal-format.js';
import { DELIVERIES, randomFrom } from './mailboxes.js';
import type { DiskOptions } from './memory-disk.js';
import {
  delivered,
  fileAt,
  JOURNAL,
  MAILBOX,
  MAILBOX_INO,
  mailboxOf,
  OWNER,
  PLAN,
  type Run,
  type RunOptions,
  recovery,
} from './sessions.js';
import { keyOf, type Limit, powerCuts, type World } from './world.js';

/** Where one run may be cut off. */
export interface CrashPoint {
  readonly world: World;
  /** What was done last, for reports. */
  readonly after: string;
  /** In the middle of a write: a power cut there is among those after it. */
  readonly torn: boolean;
}

/** Runs a program and keeps the world as it was after each change. */
export async function crashPointsOf<T>(
  start: World,
  options: RunOptions,
  program: (options: RunOptions) => Promise<Run<T>>,
): Promise<{ readonly points: CrashPoint[]; readonly run: Run<T> }> {
  const points: CrashPoint[] = [{ world: start, after: 'nothing', torn: false }];
  const onChange: DiskOptions['onChange'] = (world, call, torn) => {
    points.push({ world, after: `${call.name} ${call.path} ${call.position ?? ''}`, torn });
  };
  const run = await program({ ...options, onChange });
  return { points, run };
}

export type Violation = 'content' | 'false alarm' | 'recovery failed';

export interface Tally {
  /** Worlds after a crash, with what led to them. */
  states: number;
  /** Distinct worlds that recovery was run on. */
  recoveries: number;
  readonly violations: Map<Violation, number>;
  /** The first few, in words. */
  readonly examples: string[];
}

export interface Limits {
  /** Power cuts of UPDATE. */
  readonly first: Limit;
  /** Power cuts of the recovery from each. */
  readonly second: Limit;
}

/** Bounded for every change; with SIMULATOR_DEEP set, for a night. */
export const DEEP = (process.env.SIMULATOR_DEEP ?? '') !== '';
export const LIMITS: Limits = DEEP
  ? { first: { full: 4096, sample: 512 }, second: { full: 256, sample: 96 } }
  : { first: { full: 1024, sample: 64 }, second: { full: 16, sample: 14 } };
export const FEW: Limits = { first: { full: 64, sample: 40 }, second: { full: 8, sample: 10 } };

export function newTally(): Tally {
  return { states: 0, recoveries: 0, violations: new Map(), examples: [] };
}

interface Found {
  states: number;
  readonly bad: Map<Violation, number>;
}

interface Recovered {
  readonly content: Buffer | undefined;
  readonly failure: Violation | undefined;
  readonly why: string;
}

export class Enumeration {
  readonly #random = randomFrom(20_26);
  readonly #finals = new Map<string, Recovered>();
  readonly #known = new Map<string, Found>();

  constructor(
    readonly tally: Tally,
    private readonly limits: Limits,
    /** How the disk behaves during recovery. */
    private readonly options: RunOptions = {},
    private readonly deliveries: readonly Buffer[] = DELIVERIES,
  ) {}

  /** All that can follow from these crash points, if only `allowed` contents may come of it. */
  async crashes(points: readonly CrashPoint[], allowed: readonly Buffer[]): Promise<void> {
    const sort = allowed.map(content => content.length).join();
    for (const point of points) {
      for (const [how, world] of this.#after(point, this.limits.first)) {
        const key = keyOf(world);
        for (const [a, mail] of this.deliveries.entries()) {
          const path = `${how} after ${point.after}; delivery ${a}`;
          const found = await this.#explored(`${sort} ${a} ${key}`, path, world, mail, allowed);
          this.tally.states += found.states;
          for (const [kind, count] of found.bad) {
            this.tally.violations.set(kind, (this.tally.violations.get(kind) ?? 0) + count);
          }
        }
      }
    }
  }

  *#after(point: CrashPoint, limit: Limit): Generator<[string, World]> {
    yield ['kill', point.world];
    if (point.torn) return;
    for (const world of powerCuts(point.world, limit, this.#random)) yield ['power cut', world];
  }

  /** A delivery, recovery, cut off at every point, a delivery, and recovery again. */
  async #explored(
    key: string,
    path: string,
    before: World,
    mail: Buffer,
    contents: readonly Buffer[],
  ): Promise<Found> {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found: Found = { states: 0, bad: new Map() };
    this.#known.set(key, found);
    this.tally.recoveries++;
    const world = delivered(before, mail);
    const allowed = withMail(contents, mail);
    const { points, run } = await crashPointsOf(world, this.options, options => recovery(world, options));
    this.#judge(this.#seen(run), allowed, found, path);
    const wanted = this.deliveries.map(later => withMail(allowed, later));
    for (const point of points) {
      for (const [how, next] of this.#after(point, this.limits.second)) {
        const nextKey = keyOf(next);
        for (const [b, later] of this.deliveries.entries()) {
          const final = await this.#final(`${b} ${nextKey}`, next, later);
          this.#judge(final, wanted[b]!, found, `${path}; ${how} after ${point.after}; delivery ${b}`);
        }
      }
    }
    return found;
  }

  async #final(key: string, world: World, mail: Buffer): Promise<Recovered> {
    let found = this.#finals.get(key);
    if (found === undefined) {
      this.tally.recoveries++;
      found = this.#seen(await recovery(delivered(world, mail), this.options));
      this.#finals.set(key, found);
    }
    return found;
  }

  #seen({ world, result, error }: Run<RecoveryReport>): Recovered {
    const content = mailboxOf(world);
    if (result === undefined) return { content, failure: 'recovery failed', why: String(error) };
    // Nobody but us and deliveries were here: nothing may look foreign, nor be left to do.
    // Written by several calls, each of them short: kept for a human, and never carried out.
    const isTornHeader = result.did === 'set-aside' && result.reason === 'its header is damaged';
    const conflict =
      result.did === 'ignored' ||
      (result.did === 'set-aside' && /conflict|plan/.test(result.path) && !isTornHeader);
    const plan = fileAt(world, PLAN)?.now.subarray(0, SECTOR);
    const left = (fileAt(world, JOURNAL)?.now.length ?? 0) > 64 || (plan?.[0] ?? 0) !== 0;
    if (conflict || left) return { content, failure: 'false alarm', why: JSON.stringify(result) };
    const { uid, mode, ino } = fileAt(world, MAILBOX)!;
    const same = ino === MAILBOX_INO && uid === OWNER && mode === 0o600;
    return { content: same ? content : undefined, failure: undefined, why: result.did };
  }

  #judge({ content, failure, why }: Recovered, allowed: readonly Buffer[], found: Found, path: string): void {
    found.states++;
    // A tail that the disk lost is no mail: it may go, whole or in part.
    const good =
      content !== undefined &&
      (allowed.some(one => one.equals(content)) || allowed.some(one => isSameMail(one, content)));
    const violation = good ? failure : 'content';
    if (violation === undefined) return;
    found.bad.set(violation, (found.bad.get(violation) ?? 0) + 1);
    if (this.tally.examples.length < 5) {
      this.tally.examples.push(`${violation}: ${path}: ${why}, ${content?.length} octets`);
    }
  }
}

function withMail(contents: readonly Buffer[], mail: Buffer): Buffer[] {
  return contents.map(content => Buffer.concat([content, mail]));
}

const mails = new WeakMap<Buffer, Buffer>();

/** Without NULs. */
function mailOf(octets: Buffer): Buffer {
  let mail = mails.get(octets);
  if (mail === undefined) {
    mail = octets.includes(0) ? Buffer.from(octets.filter(octet => octet !== 0)) : octets;
    mails.set(octets, mail);
  }
  return mail;
}

/** Equal but for NULs, where some were expected at all. */
function isSameMail(expected: Buffer, content: Buffer): boolean {
  return mailOf(expected) !== expected && mailOf(expected).equals(mailOf(content));
}
