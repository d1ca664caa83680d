/**
 * The slow twin of lib/mbox: reads a whole mailbox as one string and splits it, sharing no code with
 * what it checks. Latin-1, so that a character is an octet.
 */
import { createHash } from 'node:crypto';

export interface OracleMessage {
  start: number;
  header: number;
  body: number;
  contentEnd: number;
  end: number;
  octets: number;
  bodyOctets: number;
  /** What RETR sends before byte-stuffing. */
  wire: string;
  identity: string;
}

export type OracleMailbox = { refused: number } | { messages: OracleMessage[]; hidden: number };

type Line = { offset: number; text: string };

const METADATA = /^(status|x-status|x-keywords|x-uid|x-imap|x-imapbase|content-length):/i;
const VOLATILE = /^(lines|x-uidl|x-mozilla-status2?|x-mozilla-keys):/i;

const isEmpty = (line: Line) => /^\r?\n?$/.test(line.text);
const bare = (line: Line) => line.text.replace(/\r?\n$|\r$/, '');

/** The From_ rule over words instead of one expression: a date among the last words. */
export function oracleIsFromLine(text: string): boolean {
  if (!text.startsWith('From ') || text.replace(/\r$/, '').length > 2048) return false;
  const line = text
    .replace(/\r$/, '')
    .slice(5)
    .replace(/\t/g, ' ')
    .replace(/ +remote from [^ ]+ *$/, '');
  const words = line.split(' ').filter(word => word !== '');
  const isZone = (word = '') => /^([A-Z]{1,6}|[+-]\d{4}|\([A-Z]{1,6}\))$/.test(word);
  const isYear = (word = '') => /^(\d\d|\d{4})$/.test(word);
  const isTime = (word = '') => /^[0-2]?\d:[0-5]\d(:[0-6]\d)?$/.test(word);
  const isMonth = (word = '') => /^(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)$/.test(word);
  const isDay = (word = '') => /^\d{1,2}$/.test(word) && Number(word) >= 1 && Number(word) <= 31;
  const zones = (from: number) => (isZone(words[from]) ? (isZone(words[from + 1]) ? 2 : 1) : 0);
  return words.some((word, i) => {
    if (/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)$/.test(word)) {
      if (!isMonth(words[i + 1]) || !isDay(words[i + 2]) || !isTime(words[i + 3])) return false;
      const year = i + 4 + zones(i + 4);
      return isYear(words[year]) && words.length - zones(year + 1) === year + 1;
    }
    const joined = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun),(\d*)$/.exec(word);
    if (!joined) return false;
    const day = joined[2] === '' ? words[i + 1] : joined[2];
    const next = joined[2] === '' ? i + 2 : i + 1;
    if (!isDay(day) || !isMonth(words[next]) || !isYear(words[next + 1])) return false;
    return isTime(words[next + 2]) && words.length - zones(next + 3) === next + 3;
  });
}

function visible(header: Line[], names: RegExp[]): string[] {
  let hiding = false;
  return header.map(bare).filter(text => {
    if (!/^[ \t]/.test(text)) hiding = names.some(name => name.test(text));
    return !hiding;
  });
}

function readMessage(lines: Line[], end: number): OracleMessage {
  const [from, ...rest] = lines as [Line, ...Line[]];
  const content = rest.length > 0 && isEmpty(rest.at(-1)!) ? rest.slice(0, -1) : rest;
  const after = (line: Line | undefined) =>
    line ? line.offset + line.text.length : from.offset + from.text.length;
  const contentEnd = after(content.at(-1));
  const empty = content.findIndex(isEmpty);
  const header = empty < 0 ? content : content.slice(0, empty);
  const body = empty < 0 ? [] : content.slice(empty + 1);
  const crlf = (texts: string[]) => texts.map(text => `${text}\r\n`).join('');
  const bodyWire = crlf(body.map(bare));
  const wire = crlf(visible(header, [METADATA])) + (empty < 0 ? '' : '\r\n') + bodyWire;
  const lf = (texts: string[]) => texts.map(text => `${text}\n`).join('');
  const digested = `${lf([bare(from), ...visible(header, [METADATA, VOLATILE])])}\n${bodyWire.length}\n${lf(body.map(bare)).slice(0, 512)}`;
  return {
    start: from.offset,
    header: after(from),
    body: empty < 0 ? contentEnd : after(content[empty]),
    contentEnd,
    end,
    octets: wire.length,
    bodyOctets: bodyWire.length,
    wire,
    identity: createHash('sha256').update(Buffer.from(digested, 'latin1')).digest('hex').slice(0, 32),
  };
}

export function oracle(file: Uint8Array): OracleMailbox {
  let offset = 0;
  const lines = (
    Buffer.from(file)
      .toString('latin1')
      .match(/[^\n]*\n|[^\n]+$/g) ?? []
  ).map(text => {
    offset += text.length;
    return { offset: offset - text.length, text };
  });
  const first = lines.findIndex(line => !isEmpty(line));
  if (first < 0) return { messages: [], hidden: 0 };
  const isStart = (line: Line, i: number) =>
    oracleIsFromLine(line.text.replace(/\n$/, '')) && (i === first || (i > first && isEmpty(lines[i - 1]!)));
  if (!isStart(lines[first]!, first)) return { refused: lines[first]!.offset };
  const starts = lines.flatMap((line, i) => (isStart(line, i) ? [i] : []));
  const messages = starts.map((start, k) => {
    const next = starts[k + 1] ?? lines.length;
    return readMessage(lines.slice(start, next), lines[next]?.offset ?? file.length);
  });
  const header = Buffer.from(file.slice(messages[0]!.header, messages[0]!.body)).toString('latin1');
  const isFolderData =
    /^x-imap:/im.test(header) &&
    /^subject:[ \t]*DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA[ \t]*\r*$/im.test(header);
  return { messages: isFolderData ? messages.slice(1) : messages, hidden: isFolderData ? 1 : 0 };
}
