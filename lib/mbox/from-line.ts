/**
 * The From_ line: `From `, the envelope sender, and the date of delivery. Nothing defines it; these are
 * the layouts that delivery agents and mail readers write and that at least one of mutt, Dovecot and
 * c-client reads. A date is asked for so that prose ("From here on ...") is never a boundary; that the
 * line before is empty is the scanner's business.
 *
 *   asctime(3)   Sat Jan  3 01:05:34 1996      also without seconds, a zone before or after the year
 *   RFC 822      Thu, 9 Nov 2002 22:33:52      also with a zone after it
 * and after either of them, from UUCP: `remote from host`.
 *
 * The sender may be missing, hold spaces (`"a b"@c`, `user at host`) or be a bang path.
 */

/** Octets of a From_ line without its line end. A longer line is not a From_ line. */
export const MAX_FROM_LINE = 2048;

const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)';
const MDAY = '(?:0?[1-9]|[12][0-9]|3[01])';
const TIME = '[0-2]?[0-9]:[0-5][0-9](?::[0-6][0-9])?';
const YEAR = '(?:[0-9]{4}|[0-9]{2})';
// `PST`, `MET DST`, `-0700`, `+0000 (UTC)`.
const ZONE = '(?: +(?:[A-Z]{1,6}|[+-][0-9]{4}|\\([A-Z]{1,6}\\))){0,2}';

const DATE = new RegExp(
  `(?:^| )(?:${DAY} +${MONTH} +${MDAY} +${TIME}${ZONE} +${YEAR}|${DAY}, *${MDAY} +${MONTH} +${YEAR} +${TIME})` +
    `${ZONE}(?: +remote from [^ ]+)? *$`,
);

/** What asctime(3) makes: `Sat Jan  3 01:05:34 1996`. */
const ASCTIME = 24;

const packed = (bytes: Uint8Array, at: number) => bytes[at]! * 65536 + bytes[at + 1]! * 256 + bytes[at + 2]!;
const packedWords = (words: string) =>
  new Set(words.split(' ').map(word => packed(Buffer.from(word, 'latin1'), 0)));
const DAY_WORDS = packedWords('Mon Tue Wed Thu Fri Sat Sun');
const MONTH_WORDS = packedWords('Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec');

/** Whether `bytes` at `at` are what `form` says: 0 to 9 there is any digit up to that one, the rest itself. */
function isForm(bytes: Uint8Array, at: number, form: string): boolean {
  for (let i = 0; i < form.length; i++) {
    const wanted = form.charCodeAt(i);
    const octet = bytes[at + i]!;
    if (wanted >= 0x30 && wanted <= 0x39 ? octet < 0x30 || octet > wanted : octet !== wanted) return false;
  }
  return true;
}

/** ` 1` to ` 9`, `01` to `31`. */
function isDayOfMonth(first: number, second: number): boolean {
  if (first === 0x33) return second === 0x30 || second === 0x31;
  if (second < 0x30 || second > 0x39) return false;
  return first === 0x31 || first === 0x32 || ((first === 0x20 || first === 0x30) && second !== 0x30);
}

/**
 * Whether the octets from `at` on are the form of almost all dates. `DATE` takes it too, but to look at the
 * octets one by one is ten times faster; what is not this form may still be a date.
 */
function isAsctime(bytes: Uint8Array, at: number): boolean {
  return (
    DAY_WORDS.has(packed(bytes, at)) &&
    bytes[at + 3] === 0x20 &&
    MONTH_WORDS.has(packed(bytes, at + 4)) &&
    bytes[at + 7] === 0x20 &&
    isDayOfMonth(bytes[at + 8]!, bytes[at + 9]!) &&
    isForm(bytes, at + 10, ' 29:59:69 9999')
  );
}

const FROM_ = [0x46, 0x72, 0x6f, 0x6d, 0x20];

/**
 * Whether [start, end) of `bytes` is a From_ line.
 * @param end where its LF is, or the end of the file; a CR before that is not looked at
 */
export function isFromLine(bytes: Uint8Array, start: number, end: number): boolean {
  const last = end > start && bytes[end - 1] === 0x0d ? end - 1 : end;
  if (last - start > MAX_FROM_LINE) return false;
  for (let i = 0; i < FROM_.length; i++) {
    if (bytes[start + i] !== FROM_[i]) return false;
  }
  if (last - start < FROM_.length) return false;
  const date = last - ASCTIME;
  if (date >= start + FROM_.length && bytes[date - 1] === 0x20 && isAsctime(bytes, date)) return true;
  const rest = Buffer.from(bytes.buffer, bytes.byteOffset + start + 5, last - start - 5).toString('latin1');
  return DATE.test(rest.replaceAll('\t', ' '));
}

/** The sender of a From_ line, as it stands there: it may be empty or hold spaces. */
export function senderOfFromLine(line: string): string {
  const rest = line
    .slice(FROM_.length)
    .replace(/\r?\n?$/, '')
    .replaceAll('\t', ' ');
  return rest.slice(0, DATE.exec(rest)?.index ?? rest.length).trim();
}

/** What delivery agents write for the empty sender, that of bounces. */
const NO_SENDER = 'MAILER-DAEMON';

/** Longer than any address of RFC 5321 §4.5.3.1, in characters. */
const MAX_SENDER = 512;

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/**
 * The From_ line for a delivery, with its LF: `From SENDER Sat Jan  3 01:05:34 1996`, in local time, as
 * asctime(3) and every agent has it.
 * @param sender an address, with or without `<>`. What is no part of a word (blanks, control characters)
 *   becomes `_`: whoever chose the address does not choose what follows it
 */
export function fromLine(sender: string, date: Date): string {
  const word = sender
    .replace(/^<(.*)>$/s, '$1')
    .slice(0, MAX_SENDER)
    .replace(/[\s\p{C}]/gu, '_');
  const two = (n: number) => String(n).padStart(2, '0');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const day = `${DAYS[date.getDay()]} ${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2)}`;
  return `From ${word || NO_SENDER} ${day} ${time} ${date.getFullYear()}\n`;
}
