/**
 * UPDATE and recovery with one step left out: not by a switch in the program but by a disk that says yes
 * and does not do it. Each must make the enumeration find violations, or the step, or the proof, is idle.
 */
import {
  decodeHeader,
  type JournalHeader,
  NONCE,
  PHASE_AT,
  SECTOR,
} from '../../lib/maildrop/journal-format.js';
import type { Call } from './memory-disk.js';
import { fileAt, JOURNAL, MAILBOX, type RunOptions, STATE } from './sessions.js';
import type { World } from './world.js';

export interface Ablation {
  readonly name: string;
  /** Whether the mailbox had an UPDATE before: its journal file is there. */
  readonly later: boolean;
  readonly options: RunOptions;
  /** For comparison: the same, and nothing left out. */
  readonly harmless?: boolean;
}

type OnWrite = NonNullable<RunOptions['onWrite']>;

const NEW_JOURNAL = `${JOURNAL}.new`;
const isJournal = (path: string) => path === JOURNAL || path === NEW_JOURNAL;
const wrote = (call: Call, position?: number) =>
  call.since.some(step => (position === undefined ? step.startsWith('write') : step === `write ${position}`));

/** A journal found by recovery, which writes it over itself in one piece. */
const isFound = (call: Call) => call.since.join() === 'write 0';

function withoutSync(name: string, later: boolean, matches: (call: Call) => boolean): Ablation {
  const interfere = (call: Call) =>
    call.name === 'sync' && matches(call) ? ('pretend' as const) : undefined;
  return { name, later, options: { interfere } };
}

/** The plan in force: that of the journal, if it has a whole header. */
function plan(world: World): JournalHeader | undefined {
  const journal = fileAt(world, JOURNAL)?.now;
  if (journal === undefined || journal.length < SECTOR) return undefined;
  const header = decodeHeader(journal.subarray(0, SECTOR));
  return typeof header === 'string' ? undefined : header;
}

/** Changes in what is written to the mailbox the octets where the marker stands. */
function onMarker(change: (marker: Buffer, at: number, world: World) => void): OnWrite {
  return (call, octets, world) => {
    const at = plan(world)?.newSize;
    if (call.path !== MAILBOX || at === undefined || call.position! + octets.length <= at) return octets;
    const copy = Buffer.from(octets);
    change(copy.subarray(Math.max(0, at - call.position!)), at, world);
    return copy;
  };
}

const noMarker = onMarker((marker, at, world) => {
  marker.set(fileAt(world, MAILBOX)!.now.subarray(at, at + marker.length));
});

const noPhaseRecord: OnWrite = (call, octets) =>
  isJournal(call.path) && call.position === PHASE_AT && octets.length === SECTOR
    ? Buffer.alloc(SECTOR)
    : octets;

/** Mail behind the old end is not seen by what decides whether to make a new journal. */
const hiddenAppends: NonNullable<RunOptions['onStat']> = (path, stat, world) => {
  const oldSize = path === MAILBOX ? plan(world)?.oldSize : undefined;
  return oldSize === undefined || stat.size <= oldSize ? stat : { ...stat, size: oldSize };
};

/** The marker begins with NUL on the disk, while the program believes that it begins with 0x01. */
const nulMarker: RunOptions = {
  unlucky: true,
  onWrite: onMarker(marker => {
    if (marker.length === NONCE) marker[0] = 0;
  }),
  onRead: (call, octets, world) => {
    const at = plan(world)?.newSize;
    if (call.path !== MAILBOX || at === undefined) return;
    const marker = octets.subarray(Math.max(0, at - call.position!)).subarray(0, NONCE);
    if (at >= call.position! && marker.length === NONCE && marker.every(octet => octet === 0)) marker[0] = 1;
  },
};

export const ABLATIONS: readonly Ablation[] = [
  { name: 'nothing (first UPDATE)', later: false, options: {}, harmless: true },
  { name: 'nothing (later UPDATE)', later: true, options: {}, harmless: true },
  withoutSync('fsync of the journal at commit', true, c => c.path === JOURNAL && wrote(c, 0) && !isFound(c)),
  withoutSync('fsync of the first journal', false, c => c.path === NEW_JOURNAL && wrote(c, 0)),
  withoutSync('fsync of its directory', false, c => c.path === STATE),
  withoutSync('fsync of the directory of that', false, c => c.path === '/state'),
  withoutSync('fsync of the mailbox before the phase record', true, c => c.path === MAILBOX && wrote(c)),
  { name: 'phase record', later: true, options: { onWrite: noPhaseRecord } },
  withoutSync(
    'fsync of the phase record',
    true,
    c => isJournal(c.path) && wrote(c, PHASE_AT) && !wrote(c, 0),
  ),
  { name: 'marker', later: true, options: { onWrite: noMarker } },
  withoutSync(
    'fsync of the mailbox after the cut',
    true,
    c => c.path === MAILBOX && c.since.some(step => step.startsWith('truncate')),
  ),
  { name: 're-journalling of appended mail', later: true, options: { onStat: hiddenAppends } },
  withoutSync('fsync of the new journal', true, c => c.path === NEW_JOURNAL && wrote(c, 0)),
  withoutSync('fsync of the directory after its rename', true, c => c.path === STATE),
  withoutSync('fsync of the journal found', true, c => isJournal(c.path) && isFound(c)),
  withoutSync('fsync of the mailbox found', true, c => c.path === MAILBOX && c.since.length === 0),
  { name: 'first octet of the marker not NUL', later: true, options: nulMarker },
  { name: 'nothing (nonce all NUL)', later: true, options: { unlucky: true }, harmless: true },
];
