/**
 * Changes one user's lines in the text of a users file. What is a line, a comment and a name is decided as
 * in users-lines.ts.
 *
 * Invariant: no octet of any other line changes, nor their order, whatever they hold; of a line whose
 * password changes, all other fields stay, those we do not know included.
 *
 * Texts are latin1, one character per octet.
 */

interface Line {
  readonly start: number;
  /** Before the line end, LF or CRLF. */
  readonly end: number;
  /** Where the next line starts. */
  readonly next: number;
}

/** The password field of the line that counts, the first of this name. Empty when the line ends before it. */
export function passwordField(text: string, name: string): string | undefined {
  const [line] = linesOf(text, name);
  return line && (text.slice(line.start, line.end).split(':', 2)[1] ?? '');
}

/** The same for every name that a line begins with, and whatever stands in the place of one. */
export function passwordFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const { start, end } of lines(text)) {
    const [name = '', field = ''] = text.slice(start, end).split(':', 2);
    if (!fields.has(name)) fields.set(name, field);
  }
  return fields;
}

/**
 * The text with a new line at its end.
 * @param fields without colon or line end; none of the name is there already
 */
export function withUser(text: string, fields: readonly string[]): string {
  const gap = text === '' || text.endsWith('\n') ? '' : '\n';
  return `${text}${gap}${fields.join(':')}\n`;
}

/** The text with another password field in the line that counts, or undefined when there is no such line. */
export function withPasswordField(text: string, name: string, field: string): string | undefined {
  const [line] = linesOf(text, name);
  if (line === undefined) return undefined;
  const start = line.start + name.length;
  const rest = text.slice(start, line.end).indexOf(':', 1);
  const end = rest === -1 ? line.end : start + rest;
  return `${text.slice(0, start)}:${field}${text.slice(end)}`;
}

/** The text without any line of this name: of two, the second would come to life. */
export function withoutUser(text: string, name: string): string {
  let kept = '';
  let from = 0;
  for (const { start, next } of linesOf(text, name)) {
    kept += text.slice(from, start);
    from = next;
  }
  return kept + text.slice(from);
}

function* linesOf(text: string, name: string): Iterable<Line> {
  for (const line of lines(text)) {
    const colon = line.start + name.length;
    if (text.startsWith(name, line.start) && (colon === line.end || text[colon] === ':')) yield line;
  }
}

function* lines(text: string): Iterable<Line> {
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const next = newline === -1 ? text.length : newline + 1;
    let end = newline === -1 ? text.length : newline;
    if (end > start && text[end - 1] === '\r') end -= 1;
    yield { start, end, next };
    start = next;
  }
}
