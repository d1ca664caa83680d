/**
 * Plays a transcript: a POP3 session as text, over any connection. The format, one line each:
 *
 *     # comment                  (`#: apop last` in the first lines: settings the server needs)
 *     C: a line the client sends, with CRLF. `\xHH`, `\n`, `\\` are octets; `\c` at the end: no CRLF.
 *     S: a line the server sends, to the octet, but for
 *        <any>  anything     <unique-id>  a unique-id     <timestamp>  APOP's, remembered
 *     C: <digest SECRET>         inside a line: APOP's digest for the remembered timestamp
 *     C: <fin>                   the client will send no more
 *     S: <closed>                the server has closed the connection
 *     C: <connect>               a new connection
 *
 * Whatever the cutting of what the client sends into writes, the answers must be the same.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';

/**
 * `commands`: each command waits for the answers before it; `whole`: all in one write; `bytes`: one
 * octet a write; a number: two writes, cut there.
 */
export type Cutting = 'commands' | 'whole' | 'bytes' | number;

interface Step {
  readonly who: 'C' | 'S';
  readonly text: string;
  readonly line: number;
}

export interface Transcript {
  readonly file: string;
  readonly settings: ReadonlySet<string>;
  /** One list of steps a connection. */
  readonly sessions: readonly (readonly Step[])[];
}

export function readTranscript(file: string): Transcript {
  const settings = new Set<string>();
  const sessions: Step[][] = [[]];
  for (const [i, text] of readFileSync(file, 'utf8').split('\n').entries()) {
    if (text.startsWith('#:')) for (const word of text.slice(2).trim().split(/\s+/)) settings.add(word);
    if (text === '' || text.startsWith('#')) continue;
    const who = text[0];
    if ((who !== 'C' && who !== 'S') || text[1] !== ':') throw new Error(`${file}:${i + 1}: ${text}`);
    if (text === 'C: <connect>') sessions.push([]);
    else sessions.at(-1)?.push({ who, text: text.slice(3), line: i + 1 });
  }
  return { file, settings, sessions };
}

/** How many octets the client sends in the longest session: the highest useful number to cut at. */
export function octetsSent(transcript: Transcript): number {
  return Math.max(...transcript.sessions.map(steps => Buffer.concat(spokenBy(steps, '')).length));
}

/**
 * @param pause ms between two writes, for a server that is another process; without it, a turn of the loop
 * @throws Error naming file and line of the first answer that was not as written
 */
export async function playTranscript(
  connect: () => Promise<Duplex>,
  transcript: Transcript,
  cutting: Cutting,
  pause = 0,
): Promise<void> {
  for (const steps of transcript.sessions) {
    const stream = await connect();
    const player = new Player(stream, transcript.file, pause);
    try {
      if (cutting === 'commands') for (const step of steps) await player.play(step);
      else await player.playAtOnce(steps, cutting);
      await player.expectNoMore(steps.at(-1)?.text === '<closed>');
    } finally {
      stream.destroy();
    }
  }
}

class Player {
  private received = '';
  private ended = false;
  private timestamp = '';

  constructor(
    private readonly stream: Duplex,
    private readonly file: string,
    private readonly pause: number,
  ) {
    stream.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1');
      stream.emit('news');
    });
    for (const event of ['end', 'close', 'error']) {
      stream.on(event, () => {
        this.ended = true;
        stream.emit('news');
      });
    }
  }

  async play(step: Step): Promise<void> {
    if (step.who === 'S') return this.expect(step);
    if (step.text === '<fin>') this.stream.end();
    else this.stream.write(encode(step.text, this.timestamp));
  }

  async playAtOnce(steps: readonly Step[], cutting: 'whole' | 'bytes' | number): Promise<void> {
    const first = steps.findIndex(step => step.who === 'C');
    for (const step of steps.slice(0, first)) await this.expect(step);
    const sending = this.send(Buffer.concat(spokenBy(steps, this.timestamp)), cutting).then(() => {
      if (steps.some(step => step.text === '<fin>')) this.stream.end();
    });
    for (const step of steps.slice(first)) if (step.who === 'S') await this.expect(step);
    await sending;
  }

  private async send(octets: Buffer, cutting: 'whole' | 'bytes' | number): Promise<void> {
    if (cutting === 'whole') return this.write(octets);
    if (cutting === 'bytes') {
      for (const octet of octets) await this.write(Buffer.of(octet));
      return;
    }
    await this.write(octets.subarray(0, cutting));
    await this.write(octets.subarray(cutting));
  }

  private async write(octets: Buffer): Promise<void> {
    if (octets.length === 0 || this.stream.destroyed) return;
    this.stream.write(octets);
    // A turn of the loop, so that over a pair of streams the other end sees this piece alone.
    await new Promise(resolve => (this.pause > 0 ? setTimeout(resolve, this.pause) : setImmediate(resolve)));
  }

  private async expect({ text, line }: Step): Promise<void> {
    const place = `${this.file}:${line}`;
    if (text === '<closed>') {
      while (!this.ended) await once(this.stream, 'news');
      if (this.received !== '') throw new Error(`${place}: got ${JSON.stringify(this.received)}`);
      return;
    }
    let end = this.received.indexOf('\n');
    for (; end < 0; end = this.received.indexOf('\n')) {
      if (this.ended) throw new Error(`${place}: closed instead of ${JSON.stringify(text)}`);
      await once(this.stream, 'news');
    }
    const got = this.received.slice(0, end + 1);
    this.received = this.received.slice(end + 1);
    const match = pattern(text).exec(got);
    if (!match) throw new Error(`${place}: got ${JSON.stringify(got)} instead of ${JSON.stringify(text)}`);
    if (match.groups?.timestamp) this.timestamp = match.groups.timestamp;
  }

  /** Nothing may come that was not written down. */
  async expectNoMore(closed: boolean): Promise<void> {
    if (!closed) this.stream.end();
    while (!this.ended) await once(this.stream, 'news');
    if (this.received !== '') throw new Error(`${this.file}: also got ${JSON.stringify(this.received)}`);
  }
}

function spokenBy(steps: readonly Step[], timestamp: string): Buffer[] {
  return steps
    .filter(step => step.who === 'C' && step.text !== '<fin>')
    .map(step => encode(step.text, timestamp));
}

function encode(text: string, timestamp: string): Buffer {
  const line = text.replace(/<digest ([^>]*)>/, (_, secret: string) =>
    createHash('md5')
      .update(timestamp + secret)
      .digest('hex'),
  );
  const open = line.endsWith('\\c');
  const octets = (open ? line.slice(0, -2) : line).replace(
    /\\(?:x([0-9a-f]{2})|(n)|\\)/g,
    (_, hex?: string, n?: string) => (hex ? String.fromCharCode(Number.parseInt(hex, 16)) : n ? '\n' : '\\'),
  );
  return Buffer.from(open ? octets : `${octets}\r\n`, 'latin1');
}

const WILDCARDS = new Map([
  ['<any>', '.*'],
  ['<unique-id>', '[\\x21-\\x7e]{1,70}'],
  ['<timestamp>', '(?<timestamp><[\\x21-\\x3d\\x3f-\\x7e]+>)'],
]);

function pattern(text: string): RegExp {
  const parts = text.split(/(<any>|<unique-id>|<timestamp>)/);
  const source = parts.map(part => WILDCARDS.get(part) ?? part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${source.join('')}\\r\\n$`);
}
