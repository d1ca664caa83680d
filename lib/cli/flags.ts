/**
 * The flags of a process that somebody waits for, read without yargs: the same rows as yargs gets, so that
 * a flag and its variable mean the same everywhere.
 */
import { parseArgs } from 'node:util';
import { fromEnvironment, type OptionRow, type RawOptions } from '../config.js';
import { EX, UsageError } from '../errors.js';

export interface Flags {
  /** What the command line says, else the environment; no defaults. */
  readonly values: RawOptions;
  readonly positionals: readonly string[];
}

/** @throws UsageError EX_USAGE for a flag that is none, and for arguments without a flag unless allowed */
export function parseFlags(
  table: Readonly<Record<string, OptionRow>>,
  args: readonly string[],
  allowPositionals = false,
): Flags {
  const rows = Object.entries(table);
  const options = Object.fromEntries(
    rows.map(([name, { type }]) => [
      name,
      { type: type === 'boolean' ? ('boolean' as const) : ('string' as const), multiple: type === 'array' },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      strict: true,
      allowNegative: true,
      allowPositionals,
    });
    const environment = rows.map(([name, row]) => [name, fromEnvironment(name, row)]);
    const set = Object.fromEntries(environment.filter(([, value]) => value !== undefined));
    return { values: { ...set, ...values }, positionals };
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), EX.USAGE, { cause });
  }
}
