/**
 * Options as they were given, or their defaults, read as what they are: text, words, numbers, durations. Whatever is
 * wrong names its flag.
 */
import { EX, UsageError } from '../errors.js';
import { OPTIONS, type OptionRow } from './options.js';

/** What yargs makes of the flags: text and booleans, under the names of `OPTIONS`. */
export type RawOptions = { readonly [name: string]: unknown };

/** The flag as given, else its default. */
export function given(raw: RawOptions, name: keyof typeof OPTIONS): unknown {
  const row: OptionRow = OPTIONS[name];
  return raw[name] ?? row.default;
}

export function text(raw: RawOptions, name: keyof typeof OPTIONS): string | undefined {
  const value = given(raw, name);
  if (Array.isArray(value)) throw new UsageError(`--${name} is given more than once`, EX.USAGE);
  return value === undefined ? undefined : String(value);
}

export function required(raw: RawOptions, name: keyof typeof OPTIONS): string {
  const value = text(raw, name);
  if (value === undefined || value === '') throw new UsageError(`--${name} is missing`, EX.USAGE);
  return value;
}

export function flag(raw: RawOptions, name: keyof typeof OPTIONS): boolean {
  const value = given(raw, name);
  if (Array.isArray(value)) throw new UsageError(`--${name} is given more than once`, EX.USAGE);
  return value === true;
}

export function list(raw: RawOptions, name: keyof typeof OPTIONS): string[] {
  const value = given(raw, name);
  if (value === undefined) return [];
  const values = (Array.isArray(value) ? value : [value]).map(String).filter(item => item !== '');
  if (values.length === 0) throw new UsageError(`--${name} is empty`, EX.USAGE);
  return values;
}

/** Longer ones a timer of Node.js cannot wait: it would fire at once. 24 days. */
const MOST_SECONDS = 2_147_483;

/** @returns milliseconds */
export function seconds(raw: RawOptions, name: keyof typeof OPTIONS, least: number): number {
  const value = text(raw, name) ?? '';
  if (!/^[0-9]{1,7}(\.[0-9]{1,3})?$/.test(value) || Number(value) < least) {
    throw new UsageError(`--${name} ${value}: not a number of seconds of at least ${least}`, EX.USAGE);
  }
  if (Number(value) > MOST_SECONDS) {
    throw new UsageError(`--${name} ${value}: more than ${MOST_SECONDS} seconds`, EX.USAGE);
  }
  return Math.round(Number(value) * 1000);
}

export function words(raw: RawOptions, name: keyof typeof OPTIONS): string[] {
  return (text(raw, name) ?? '').split(/[\s,]+/).filter(item => item !== '');
}

export function count(raw: RawOptions, name: keyof typeof OPTIONS, least = 1): number {
  const value = text(raw, name) ?? '';
  if (!/^[1-9][0-9]{0,6}$/.test(value) || Number(value) < least) {
    throw new UsageError(`--${name} ${value}: not a number of at least ${least}`, EX.USAGE);
  }
  return Number(value);
}
