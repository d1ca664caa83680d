/**
 * The soak's messages. Each has an id in its header and the digest of its body; bodies have what mailboxes are
 * afraid of: lines that begin with "From ", dots, long lines, empty lines before the end. An agent may add header
 * fields and quote "From "; anything else that is different in the end is damage.
 */
import { createHash } from 'node:crypto';
import { DOMAIN } from '../agents/agent-host.js';
import type { Random } from './random.js';

/** Who may delete a message: our own clients, or one of the mail readers. */
export const READERS = ['pop3', 'mutt', 'dovecot'] as const;
export type Reader = (typeof READERS)[number];

export interface Mail {
  readonly id: string;
  readonly reader: Reader;
  readonly text: string;
  readonly digest: string;
}

const LINES = [
  'From the beginning of a line.',
  '.',
  '..',
  '',
  '.leading dot',
  'The quick brown fox jumps over the lazy dog.',
  '>quoted by somebody',
  'From nobody@example.com Mon Jan  5 10:00:00 2026',
];

/** Where the body of a message ends; what follows are the empty lines that agents add. */
const endOf = (id: string) => `-- the end of ${id}\n`;

export function makeMail(id: string, reader: Reader, random: Random): Mail {
  const lines: string[] = [];
  const octets = random.chance(0.003) ? random.between(30_000, 200_000) : random.between(50, 2000);
  for (let length = 0; length < octets; length += lines.at(-1)!.length + 1) {
    lines.push(random.chance(0.3) ? random.pick(LINES) : 'x'.repeat(random.between(1, 78)));
  }
  const body = `${lines.map(line => `${line}\n`).join('')}${endOf(id)}`;
  const digest = digestOf(body);
  const fields = [
    'From: Ledger <ledger@example.com>',
    `To: somebody@${DOMAIN}`,
    `Subject: ${id}`,
    `Message-ID: <${id}@${DOMAIN}>`,
    `X-Ledger: ${id}`,
    `X-Soak-Reader: ${reader}`,
    `X-Digest: ${digest}`,
  ];
  return { id, reader, digest, text: `${fields.map(field => `${field}\n`).join('')}\n${body}` };
}

/**
 * The id of a message as it was read, with LF at the line ends.
 * @throws Error when it is not, to the last octet, a message of ours
 */
export function identify(message: string): { id: string; digest: string } {
  const cut = message.indexOf('\n\n');
  const header = message.slice(0, cut + 1);
  const id = /^X-Ledger: (\S+)$/m.exec(header)?.[1];
  const digest = /^X-Digest: (\S+)$/m.exec(header)?.[1];
  if (cut < 0 || id === undefined || digest === undefined) {
    throw new Error(`no message of ours: ${JSON.stringify(message.slice(0, 400))}`);
  }
  for (const field of [
    `Subject: ${id}\n`,
    `Message-ID: <${id}@${DOMAIN}>\n`,
    'From: Ledger <ledger@example.com>\n',
  ]) {
    if (header.split(field).length !== 2) throw new Error(`${id}: the header has been changed: ${header}`);
  }
  const end = message.lastIndexOf(endOf(id));
  const rest = end < 0 ? 'missing' : message.slice(end + endOf(id).length);
  if (!/^\n*$/.test(rest)) throw new Error(`${id}: its end is ${JSON.stringify(rest.slice(0, 200))}`);
  const body = message.slice(cut + 2, end + endOf(id).length).replace(/^>From /gm, 'From ');
  if (digestOf(body) !== digest) throw new Error(`${id}: its body has been changed`);
  return { id, digest };
}

/** Messages of a mailbox file: our own rule again, in one line. Less the one in which Dovecot keeps notes. */
export function splitMailbox(content: string): string[] {
  if (content === '') return [];
  return content
    .split(/(?:^|(?<=\n\n))From \S* +\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\n/)
    .slice(1)
    .filter(message => !/^Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA$/m.test(message));
}

function digestOf(body: string): string {
  return createHash('sha256').update(body, 'latin1').digest('base64url').slice(0, 22);
}
