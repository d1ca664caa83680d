/**
 * Everything a host remembers: files, the names that lead to them, and what of the names is durable.
 * A directory change is durable only after fsync(2) of the directory; until then a power cut keeps any
 * subset. A process that is killed loses nothing of this; a power cut leaves one of `powerCuts`.
 */
import { hash } from 'node:crypto';
import { image, isClean, type MemoryFile } from './unsynced.js';

/** Names set (or, with undefined, removed) at once: one call of open, rename or unlink. */
export type Change = ReadonlyMap<string, bigint | undefined>;

export interface Directory {
  /** Names as a program sees them. */
  readonly now: ReadonlyMap<string, bigint>;
  readonly disk: ReadonlyMap<string, bigint>;
  readonly changes: readonly Change[];
}

export interface World {
  readonly files: ReadonlyMap<bigint, MemoryFile>;
  /** By path. A directory made in another stands there under its name, as inode 0. */
  readonly directories: ReadonlyMap<string, Directory>;
  /** How many nonces were drawn: the next one follows from it. */
  readonly nonces: number;
}

export const DIRECTORY_INO = 0n;

export function applied(names: ReadonlyMap<string, bigint>, changes: readonly Change[]): Map<string, bigint> {
  const result = new Map(names);
  for (const change of changes) {
    for (const [name, ino] of change) {
      if (ino === undefined) result.delete(name);
      else result.set(name, ino);
    }
  }
  return result;
}

/** Where a power cut decides: one sector's content, one file's size, one directory change. */
type Slot =
  | { readonly of: 'sector'; readonly ino: bigint; readonly index: number; readonly choices: number }
  | { readonly of: 'size'; readonly ino: bigint; readonly choices: number }
  | { readonly of: 'former'; readonly ino: bigint; readonly choices: number }
  | { readonly of: 'change'; readonly path: string; readonly index: number; readonly choices: number };

function slotsOf(world: World): Slot[] {
  const slots: Slot[] = [];
  for (const [ino, file] of world.files) {
    for (const [index, versions] of file.sectors) {
      slots.push({ of: 'sector', ino, index, choices: versions.length + 1 });
    }
    if (file.formers.length > 0) slots.push({ of: 'former', ino, choices: file.formers.length + 1 });
    if (file.sizes.length > 0) slots.push({ of: 'size', ino, choices: file.sizes.length + 1 });
  }
  for (const [path, { changes }] of world.directories) {
    for (const index of changes.keys()) slots.push({ of: 'change', path, index, choices: 2 });
  }
  return slots;
}

/** How many power cuts of one world are tried: all of them up to `full`, else about `sample`. */
export interface Limit {
  readonly full: number;
  readonly sample: number;
}

/**
 * What a power cut may leave. Every combination when there are few enough; else nothing, everything, each
 * change alone, everything but each, and combinations drawn with `random`.
 */
export function* powerCuts(world: World, limit: Limit, random: () => number): Generator<World> {
  const slots = slotsOf(world);
  const total = slots.reduce((product, { choices }) => product * choices, 1);
  const choices = total <= limit.full ? everyChoice(slots) : sampleOfChoices(slots, limit.sample, random);
  for (const choice of choices) yield afterPowerCut(world, slots, choice);
}

function* everyChoice(slots: readonly Slot[]): Generator<readonly number[]> {
  const choice = slots.map(() => 0);
  for (;;) {
    yield choice;
    let i = 0;
    for (; i < slots.length; i++) {
      choice[i] = (choice[i]! + 1) % slots[i]!.choices;
      if (choice[i] !== 0) break;
    }
    if (i === slots.length) return;
  }
}

function* sampleOfChoices(
  slots: readonly Slot[],
  atLeast: number,
  random: () => number,
): Generator<readonly number[]> {
  const none = slots.map(() => 0);
  const all = slots.map(({ choices }) => choices - 1);
  yield none;
  yield all;
  for (const [i, { choices }] of slots.entries()) {
    for (let c = 1; c < choices; c++) yield none.with(i, c);
    for (let c = 0; c < choices - 1; c++) yield all.with(i, c);
  }
  for (let n = 2 + 2 * slots.length; n < atLeast; n++) {
    // Few kept, few lost, or a fair coin: the interesting ones are near the ends.
    const bias = [0.2, 0.5, 0.8][n % 3]!;
    yield slots.map(({ choices }) => (random() < bias ? 1 + Math.floor(random() * (choices - 1)) : 0));
  }
}

function afterPowerCut(world: World, slots: readonly Slot[], choice: readonly number[]): World {
  const sizes = new Map<bigint, number>();
  const formers = new Map<bigint, number>();
  const sectors = new Map<string, number>();
  const kept = new Map<string, Change[]>();
  for (const [i, slot] of slots.entries()) {
    const chosen = choice[i]!;
    if (chosen === 0) continue;
    if (slot.of === 'size') sizes.set(slot.ino, chosen);
    else if (slot.of === 'former') formers.set(slot.ino, chosen);
    else if (slot.of === 'sector') sectors.set(`${slot.ino} ${slot.index}`, chosen);
    else {
      const change = world.directories.get(slot.path)!.changes[slot.index]!;
      kept.set(slot.path, [...(kept.get(slot.path) ?? []), change]);
    }
  }
  const directories = new Map<string, Directory>();
  const reachable = new Set<bigint>();
  // Parents come before what is made in them.
  for (const [path, directory] of world.directories) {
    const parent = path === '/' ? undefined : directories.get(parentOf(path));
    if (path !== '/' && !parent?.now.has(nameOf(path))) continue;
    const names =
      directory.changes.length === 0 ? directory.disk : applied(directory.disk, kept.get(path) ?? []);
    for (const ino of names.values()) reachable.add(ino);
    directories.set(path, { now: names, disk: names, changes: [] });
  }
  const files = new Map<bigint, MemoryFile>();
  for (const [ino, file] of world.files) {
    if (!reachable.has(ino)) continue;
    if (isClean(file) && file.disk === file.now) {
      files.set(ino, file);
      continue;
    }
    const octets =
      file.formers[formers.get(ino) ?? 0] ??
      image(file, sizes.get(ino) ?? 0, index => sectors.get(`${ino} ${index}`) ?? 0);
    files.set(ino, { ...file, now: octets, disk: octets, formers: [], sizes: [], sectors: new Map() });
  }
  return { files, directories, nonces: world.nonces };
}

const fileKeys = new WeakMap<MemoryFile, string>();

/** Equal for worlds in which everything that follows is equal; times and locks do not count. */
export function keyOf(world: World): string {
  let key = `${world.nonces}`;
  for (const [path, { now, disk, changes }] of world.directories) {
    key += `|${path}`;
    for (const [name, ino] of now) key += ` ${name}:${ino}=${fileKey(world.files.get(ino))}`;
    if (changes.length === 0) continue;
    for (const [name, ino] of disk) key += ` ${name}<${ino}=${fileKey(world.files.get(ino))}`;
    for (const change of changes) {
      for (const [name, ino] of change) key += ` ${name}>${ino}=${ino && fileKey(world.files.get(ino))}`;
    }
  }
  return key;
}

function fileKey(file: MemoryFile | undefined): string {
  if (file === undefined) return '';
  const known = fileKeys.get(file);
  if (known !== undefined) return known;
  let key = short(file.now);
  if (file.disk !== file.now) key += `<${short(file.disk)}`;
  if (file.formers.length > 0) key += `~${file.formers.map(short).join()}`;
  if (file.sizes.length > 0) key += `#${file.sizes.join()}`;
  for (const [index, versions] of file.sectors) key += `@${index}${versions.map(short).join()}`;
  const { kind, uid, mode, nlink } = file;
  if (kind !== 'file' || nlink !== 1) key += `!${kind}${uid}${mode}${nlink}`;
  fileKeys.set(file, key);
  return key;
}

function short(octets: Buffer): string {
  return `${octets.length}.${hash('sha1', octets, 'base64').slice(0, 16)}`;
}

export function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
