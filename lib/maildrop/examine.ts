/**
 * Looks at one mailbox and at everything that may stand in its way: the file itself, its locks and who
 * holds them, the session, the journal. For a human: each trouble comes with its remedy.
 *
 * Invariant: nothing is changed, no lock is taken and nothing waited for, so that it may be run at any
 * moment on a host in use. What it tells of a mailbox that is being written may be out of date at once.
 */
import { join } from 'node:path';
import { errnoOf } from '../errors.js';
import { examineLocks } from './examine-locks.js';
import { examineFile } from './examine-mailbox.js';
import { type Examined, type Finding, list } from './finding.js';
import { Journal } from './journal.js';
import { PlanJournal } from './plan-journal.js';

/** Looks at all of it. Rejects for what no mailbox explains, such as an error of the disk. */
export async function examine(subject: Examined): Promise<Finding[]> {
  const path = join(subject.spool, subject.user);
  return [
    ...(await examineFile(subject, path)),
    ...(await examineLocks(subject, path)),
    ...(await examineJournals(subject)),
  ];
}

async function examineJournals({ io, stateDir, user, owner }: Examined): Promise<Finding[]> {
  const findings: Finding[] = [];
  const place = { io, dir: stateDir, owner, dirIsGiven: true };
  for (const journal of [new Journal(place), new PlanJournal(place)]) {
    try {
      const state = await journal.read();
      if (state.is === 'committed') {
        findings.push({
          what: `${journal.path}: an UPDATE that was not finished (or is going on)`,
          remedy: `if no session is: the next login finishes it. Or: mbox-pop3d recover ${user}`,
        });
      } else if ('reason' in state) {
        findings.push({
          what: `${journal.path} is not a journal to act on: ${state.reason}`,
          remedy: `mbox-pop3d recover ${user} says what becomes of it`,
        });
      }
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      findings.push({
        what: `${journal.path}: ${errnoOf(error)}`,
        remedy: 'run the check as root, or as the owner of the state directory',
      });
    } finally {
      await journal.close();
    }
  }
  const aside = (await list(stateDir)).filter(name => /^journal\.(?!new$|plan$)/.test(name));
  for (const name of aside) {
    findings.push({
      what: `${join(stateDir, name)}: kept for you when an update could not be finished`,
      remedy:
        'read the log of that time (journal-set-aside, journal-ignored); remove it when nothing is missing',
    });
  }
  return findings;
}
