/**
 * The log: one line an event, whatever a client sends. A line is
 * `<client address> <event> key=value ...`, the address first, so that no text chosen by a client can
 * stand where an address is looked for; values are escaped and bounded.
 */

export type Level = 'error' | 'warn' | 'info' | 'debug';
export type Fields = Record<string, string | number | boolean | undefined>;

export interface Log {
  /** `who` is the client's address, or `-` for the server itself. */
  write(level: Level, who: string, event: string, fields?: Fields): void;
}

/** Longest value printed, in characters, before it is cut. */
export const MAX_VALUE = 128;

/** A value as it stands in a log line: bare when harmless, else quoted, escaped and bounded. */
export function quote(value: string | number | boolean): string {
  const text = String(value);
  if (/^[A-Za-z0-9@._:/+-]{1,128}$/.test(text)) return text;
  const cut = text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}...` : text;
  // Everything outside printable ASCII, and the two characters that would end or extend the quotes.
  const escaped = cut.replace(/[^\x20-\x7e]|["\\]/g, c => {
    if (c === '"' || c === '\\') return `\\${c}`;
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return `"${escaped}"`;
}

/** The text of one line, without level, time or line end. */
export function formatLine(who: string, event: string, fields: Fields = {}): string {
  let line = `${who} ${event}`;
  for (const key of Object.keys(fields)) {
    const value = fields[key];
    if (value !== undefined) line += ` ${key}=${quote(value)}`;
  }
  return line;
}

/** syslog(3) priorities as journald reads them at the start of a line (sd-daemon(3)). */
const PRIORITY: Record<Level, number> = { error: 3, warn: 4, info: 6, debug: 7 };
const RANK: Level[] = ['error', 'warn', 'info', 'debug'];

/**
 * A log that writes lines through `sink`.
 * @param options.journal  prefix each line with `<priority>` and leave out the time, which journald adds
 * @param options.threshold  the most detailed level that is written (default `info`)
 */
export function createLog(
  sink: (line: string) => void,
  options: { journal?: boolean; threshold?: Level } = {},
): Log {
  const most = RANK.indexOf(options.threshold ?? 'info');
  return {
    write(level, who, event, fields) {
      if (RANK.indexOf(level) > most) return;
      const line = formatLine(who, event, fields);
      sink(
        options.journal ? `<${PRIORITY[level]}>${line}\n` : `${new Date().toISOString()} ${level} ${line}\n`,
      );
    },
  };
}

/** Drops everything. */
export const silentLog: Log = { write() {} };
