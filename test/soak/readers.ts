/**
 * mutt and Dovecot on the same mailboxes: each now and then takes out the messages that are for it, reading them
 * before, and by that rewrites the mailbox, with Status fields of its own in all that stay.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentHost } from '../agents/agent-host.js';
import { type Dovecot, Imap } from '../agents/dovecot.js';
import { copyOut, DELETE_TAGGED, mutt } from '../agents/mutt.js';
import type { Box } from './boxes.js';
import type { Ledger } from './ledger.js';
import { identify, splitMailbox } from './messages.js';
import type { Random } from './random.js';
import type { Tally } from './tally.js';

export interface ReaderScene {
  readonly host: AgentHost;
  readonly boxes: readonly Box[];
  readonly random: Random;
  readonly tally: Tally;
}

export async function runMutt(
  { host, boxes, random, tally }: ReaderScene,
  stop: () => boolean,
): Promise<void> {
  while (!stop()) {
    const box = random.pick(boxes);
    await muttTakesOut(host, box, tally);
    await sleep(random.between(1000, 4000));
  }
}

async function muttTakesOut(host: AgentHost, box: Box, tally: Tally): Promise<void> {
  const copy = join(host.root, 'home', box.user, 'taken-out');
  rmSync(copy, { force: true });
  const start = performance.now();
  let screen = '';
  const copies = () => (existsSync(copy) ? splitMailbox(readFileSync(copy, 'latin1')) : []);
  // Who moves mail looks whether it has arrived before it is deleted.
  const ifGood = () => copies().every(message => wholeOf(message) !== undefined);
  try {
    const then = { keys: DELETE_TAGGED, ifGood };
    screen = await mutt(host, box.user, copyOut('~hReader:.mutt', copy), then);
  } catch (error) {
    box.ledger.problem(String(error));
  }
  tally.time('mutt', performance.now() - start);
  const messages = copies();
  const taken = messages.flatMap(message => copied(message, tally));
  box.ledger.readerDid(`mutt: ${messages.length} copied, ${idsOf(taken)}; its screen: ${saidBy(screen)}`);
  // Found by where it was, like what is copied: any program that rewrites the mailbox has mutt do that.
  tally.count('mutt: took one message for another', box.ledger.takenOut(taken, 'mutt').length);
}

function wholeOf(message: string): { id: string; digest: string } | undefined {
  try {
    return identify(message);
  } catch {
    return undefined;
  }
}

function idsOf(messages: readonly { id: string }[]): string {
  return messages.map(({ id }) => id).join(' ');
}

/** Words on a screen, without what moves the cursor and without the list of messages. */
function saidBy(screen: string): string {
  const plain = screen.replaceAll(/\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])/g, '\n');
  const lines = plain.split(/[\r\n]+/).filter(line => /[a-z]{3} /.test(line) && !/Ledger|fast/.test(line));
  return [...new Set(lines)].join(' / ').slice(0, 1500);
}

/**
 * mutt copies from where a message was when it opened the mailbox, without a lock: what it copies after another program
 * has changed the mailbox can be anything. That proves nothing: were such a message missing, it would be lost.
 */
function copied(message: string, tally: Tally): { id: string; digest: string }[] {
  const whole = wholeOf(message);
  if (whole === undefined) tally.count('mutt: copied from a mailbox that had changed');
  return whole === undefined ? [] : [whole];
}

export async function runDovecot(
  { boxes, random, tally }: ReaderScene,
  { imap }: Dovecot,
  stop: () => boolean,
): Promise<void> {
  while (!stop()) {
    const box = random.pick(boxes);
    const start = performance.now();
    await dovecotTakesOut(imap, box, tally);
    tally.time('Dovecot', performance.now() - start);
    await sleep(random.between(500, 2000));
  }
}

async function dovecotTakesOut(port: number, box: Box, tally: Tally): Promise<void> {
  let imap: Imap | undefined;
  try {
    imap = await Imap.loggedIn(port, box.user);
    await imap.ask('SELECT INBOX');
    const found = /^\* SEARCH((?: \d+)*)/m.exec(
      await imap.ask('UID SEARCH HEADER X-Soak-Reader dovecot'),
    )?.[1];
    const uids = (found ?? '').split(' ').filter(uid => uid !== '');
    if (uids.length > 0) await dovecotDeletes(imap, box, uids, tally);
    await imap.ask('LOGOUT');
  } catch (error) {
    tally.count(
      `Dovecot: ${String(error)
        .replaceAll(/\d+|\[.*?\]/g, '#')
        .slice(0, 150)}`,
    );
  } finally {
    imap?.close();
  }
}

/** Deletes what it has read whole, as a client that moves mail away. */
async function dovecotDeletes(imap: Imap, { ledger }: Box, uids: string[], tally: Tally): Promise<void> {
  const before = ledger.interruptions;
  const bodies = bodiesOf(await imap.ask(`UID FETCH ${uids.join(',')} BODY.PEEK[]`));
  const torn = before < 0 || ledger.interruptions !== before;
  const whole = bodies.flatMap(({ uid, text }) => {
    try {
      return [{ uid, ...identify(text.replaceAll('\r\n', '\n')) }];
    } catch (error) {
      if (torn) tally.count('Dovecot: read of an interrupted update');
      else ledger.problem(`Dovecot: altered: ${(error as Error).message}`);
      return [];
    }
  });
  // Not from a mailbox that is half moved: what is deleted there moves the rest of it, and our journal does not know.
  if (whole.length < bodies.length || whole.length === 0) return;
  // From here on they may go, whatever the answers: a flag that is stored late is there for all readers.
  for (const id of ledger.takenOut(whole, 'dovecot')) ledger.problem(`${id} was not for Dovecot`);
  const set = whole.map(({ uid }) => uid).join(',');
  ledger.readerDid(`Dovecot: UIDs ${set}: ${idsOf(whole)}`);
  await imap.ask(`UID STORE ${set} +FLAGS (\\Deleted)`);
  ledger.readerDid(`Dovecot: ${(await imap.ask('EXPUNGE')).replaceAll(/\s+/g, ' ')}`);
}

/** The messages of an IMAP answer to UID FETCH (RFC 3501 §7.4.2). */
function bodiesOf(answer: string): { uid: string; text: string }[] {
  const found: { uid: string; text: string }[] = [];
  for (let at = 0; ; ) {
    const match = /FETCH \(UID (\d+) BODY\[\] \{(\d+)\}\r\n/.exec(answer.slice(at));
    if (!match) return found;
    const start = at + match.index + match[0].length;
    at = start + Number(match[2]);
    found.push({ uid: match[1]!, text: answer.slice(start, at) });
  }
}

/** The message, unless it is none of ours: that is a problem. */
export function identified(ledger: Ledger, message: string): { id: string; digest: string }[] {
  try {
    return [identify(message)];
  } catch (error) {
    ledger.problem(`altered: ${(error as Error).message}`);
    return [];
  }
}
