/**
 * What a client must receive and what must be left in the mailbox file, computed from the extents in
 * the sidecar of an example mailbox (spool-fixtures/NAME.json) and from nothing of lib/. Latin-1
 * strings, so that a character is an octet.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const FIXTURES = new URL('../../spool-fixtures/', import.meta.url).pathname;

interface SidecarMessage {
  readonly start: number;
  readonly header: number;
  readonly body: number;
  readonly contentEnd: number;
  readonly end: number;
  readonly octets: number;
  readonly uniqueId: string;
}

/** Metadata of mail readers, which stays in the file and is never sent. */
const METADATA = /^(status|x-status|x-keywords|x-uid|x-imap|x-imapbase|content-length):/i;

export class Expected {
  readonly file: string;
  private readonly sidecar: readonly SidecarMessage[];

  constructor(readonly mailbox: string) {
    this.file = readFileSync(join(FIXTURES, mailbox), 'latin1');
    const { messages } = JSON.parse(readFileSync(join(FIXTURES, `${mailbox}.json`), 'utf8'));
    this.sidecar = messages;
  }

  get count(): number {
    return this.sidecar.length;
  }

  get uniqueIds(): string[] {
    return this.sidecar.map(message => message.uniqueId);
  }

  get octets(): number[] {
    return this.sidecar.map(message => message.octets);
  }

  /** Every message as RETR sends it, byte-stuffing undone. */
  get wire(): string[] {
    return this.sidecar.map(message => this.wireOf(message));
  }

  /** Every message with LF line ends, as programs on Unix store it. */
  get lf(): string[] {
    return this.wire.map(toLf);
  }

  /** The mailbox file without the messages of these numbers. */
  without(numbers: readonly number[]): string {
    let rest = '';
    let at = 0;
    for (const n of [...numbers].sort((a, b) => a - b)) {
      const { start, end } = this.sidecar[n - 1]!;
      rest += this.file.slice(at, start);
      at = end;
    }
    return rest + this.file.slice(at);
  }

  private wireOf({ header, body, contentEnd, octets }: SidecarMessage): string {
    let hiding = false;
    const kept = lines(this.file.slice(header, body)).filter(line => {
      if (!/^[ \t]/.test(line)) hiding = METADATA.test(line);
      return !hiding;
    });
    const wire = [...kept, ...lines(this.file.slice(body, contentEnd))].map(line => `${line}\r\n`).join('');
    if (wire.length !== octets) {
      throw new Error(`${this.mailbox}.json promises ${octets} octets, its extents give ${wire.length}`);
    }
    return wire;
  }
}

export function toLf(text: string): string {
  return text.replaceAll('\r\n', '\n');
}

/** The lines of a text without their line ends, LF or CRLF; the last may have none, or half a CRLF. */
function lines(text: string): string[] {
  return (text.match(/[^\n]*\n|[^\n]+$/g) ?? []).map(line => line.replace(/\r?\n$|\r$/, ''));
}
