/** Recovery in the process of the test, which is not the one that crashed, and the verdict on what it leaves. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadedHost } from '../../lib/host/load.js';
import { createLog } from '../../lib/log.js';
import type { SpoolIo } from '../../lib/maildrop/io.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { BUSY } from '../support/mailbox.js';
import { DIST } from './built.js';
import { OLD, type Scratch } from './scratch.js';

const { loadHost } = (await import(`${DIST}/lib/host/load.js`)) as { loadHost(): Promise<LoadedHost> };
const { nodeIo } = (await import(`${DIST}/lib/maildrop/io.js`)) as { nodeIo: SpoolIo };
const { Spool } = (await import(
  `${DIST}/lib/maildrop/open.js`
)) as typeof import('../../lib/maildrop/open.js');
const { host } = await loadHost();

/** Opens the maildrop of the built code in this process. @param log is given the lines logged */
export function openHere(scratch: Scratch, log: string[] = []): Promise<Maildrop> {
  const spool = new Spool(
    { io: nodeIo, host, log: createLog(line => log.push(line.trimEnd())) },
    {
      spool: scratch.dir,
      stateDir: scratch.stateDir,
      runtimeDir: scratch.runtimeDir,
      readOnly: false,
      locks: ['dotlock', 'fcntl'],
      // A dead process's lock is stale at once, and one of an UPDATE is taken over: nothing is ever waited for.
      lockTimeout: 0,
      takeover: 0,
      lockYield: Number.POSITIVE_INFINITY,
      indexCache: Number.POSITIVE_INFINITY,
      ownerOf: () => process.geteuid!(),
    },
  );
  return spool.open({ user: 'alice' }, { address: '192.0.2.8', port: 40001 }, BUSY);
}

/** The two images a mailbox may have in the end. */
export interface Allowed {
  readonly before: string;
  readonly after: string;
}

/** @param delivered what was appended at any time */
export function allowed(after: string, delivered: string): Allowed {
  return { before: OLD + delivered, after: after + delivered };
}

/** Which of the two it is, or how it is neither. */
export function imageOf(content: string, { before, after }: Allowed): 'before' | 'after' | 'neither' {
  return content === after ? 'after' : content === before ? 'before' : 'neither';
}

/**
 * What is wrong right after a crash, before anybody has come: a mailbox that is half done, behind a dotlock that is none
 * or that other programs would take for that of a dead process, and break at once.
 */
export function unguarded(scratch: Scratch, images: Allowed): string[] {
  if (imageOf(scratch.content(), images) !== 'neither') return [];
  const line = scratch.beside().includes('alice.lock')
    ? readFileSync(join(scratch.dir, 'alice.lock'), 'latin1')
    : 'no dotlock';
  return /^mbox-pop3d UPDATE [0-9a-f ]+\n$/.test(line) ? [] : [`the mailbox is half done behind ${line}`];
}

/**
 * Recovers as the next login does, twice, and says everything that is wrong afterwards.
 * @param said what the client was told: after `ok` the messages must be gone
 * @returns complaints; none when all is well
 */
export async function recoverAndJudge(
  scratch: Scratch,
  images: Allowed,
  said: 'ok' | 'err' | undefined,
): Promise<{ image: 'before' | 'after' | 'neither'; complaints: string[] }> {
  const complaints: string[] = [];
  const log: string[] = [];
  await (await openHere(scratch, log)).release();
  const content = scratch.content();
  const image = imageOf(content, images);
  if (image === 'neither') complaints.push(`the mailbox is neither OLD nor NEW: ${content.length} octets`);
  if (said === 'ok' && image !== 'after')
    complaints.push('the client was told ok, and the messages are there');
  if (!scratch.sameFile()) complaints.push('inode, mode or link count have changed');
  if (scratch.hasJournal()) complaints.push('the journal was not finished');
  if (scratch.beside().includes('alice.lock')) complaints.push('the dotlock is still there');
  for (const line of log) {
    if (/journal-ignored|conflict/.test(line)) complaints.push(line);
  }
  const again = await openHere(scratch);
  await again.release();
  const messages = content.split(/^From /m).length - 1;
  if (again.messages !== messages) complaints.push(`${again.messages} messages, not ${messages}`);
  if (scratch.content() !== content) complaints.push('recovering again changed the mailbox');
  return { image, complaints };
}
