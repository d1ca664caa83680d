/**
 * Looks at a mailbox file: whose it is, who may open it, and whether it is one. For a human: each trouble comes with its
 * remedy. It takes no lock: the file is looked at again if it is changed meanwhile.
 */
import { Unavailable } from '../errors.js';
import { BoundaryAudit } from '../mbox/boundary-audit.js';
import { NotMbox } from '../mbox/scanner.js';
import type { Examined, Finding } from './finding.js';
import { changeBetween, MailboxFile } from './mailbox-file.js';

/** @param path of the mailbox file */
export async function examineFile({ io, owner }: Examined, path: string): Promise<Finding[]> {
  let file: MailboxFile | undefined;
  try {
    file = await MailboxFile.open(io, path, { owner, writable: false });
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    const why = error.cause instanceof Error ? error.cause.message : error.message;
    return [{ what: `${path} is refused: ${why}`, remedy: remedyFor(why, path, owner) }];
  }
  if (file === undefined) return [{ what: 'no mailbox file: an empty maildrop' }];
  try {
    return [...(await examineMode(file)), ...(await examineContent(file))];
  } finally {
    await file.close();
  }
}

function remedyFor(why: string, path: string, owner: number): string {
  if (/owned by uid/.test(why)) {
    return owner < 0
      ? 'no user of this name may have a mailbox here: uid 0, or unknown'
      : `chown ${owner} ${path}`;
  }
  if (/links$/.test(why)) return `find its other names (find -samefile ${path}) and remove them`;
  if (/EACCES|EPERM/.test(why)) return 'run the check as root, or as the owner of the mailbox';
  return `look at it (ls -ld ${path}) and move it away: only a regular file is a mailbox`;
}

async function examineMode(file: MailboxFile): Promise<Finding[]> {
  const { mode } = await file.stat();
  if ((mode & 0o007) === 0) return [];
  const octal = (mode & 0o7777).toString(8).padStart(4, '0');
  return [{ what: `mode ${octal}: everybody on this host may open it`, remedy: `chmod o-rwx ${file.path}` }];
}

/** Indexes the file, without a lock: again if it is changed meanwhile, but not for ever. */
async function examineContent(file: MailboxFile): Promise<Finding[]> {
  for (let attempt = 1; ; attempt++) {
    const before = await file.stat();
    const audit = new BoundaryAudit();
    try {
      const index = await file.scan({ alsoTo: audit });
      if (changeBetween(before, await file.stat()) !== 'same' && attempt < 3) continue;
      const size = { what: `${index.messages} messages, ${before.size} octets in the file` };
      return [size, ...fromAudit(audit, before.size, file.path)];
    } catch (error) {
      if (!(error instanceof NotMbox)) throw error;
      if (changeBetween(before, await file.stat()) !== 'same' && attempt < 3) continue;
      return [
        {
          what: `not in mbox format: at offset ${error.offset} there should be a From_ line`,
          remedy: `every login is refused until it is put right: look with head -c ${error.offset + 300} ${file.path}`,
        },
      ];
    }
  }
}

function fromAudit(audit: BoundaryAudit, size: number, path: string): Finding[] {
  const { disputed, firstDisputed, endsWithLine } = audit.end();
  const findings: Finding[] = [];
  if (disputed > 0) {
    findings.push({
      what: `${disputed} From_ lines that follow no empty line, the first at offset ${firstDisputed}: mutt, Dovecot and alpine begin a message there, we do not`,
      remedy:
        'if they are text, put ">" before them; if they are messages, an empty line; with the mailbox locked',
    });
  }
  if (size > 0 && !endsWithLine) {
    findings.push({
      what: 'its last line has no end: to some agents, the next message would be a part of this one',
      remedy: `with the mailbox locked: printf '\\n\\n' >> ${path}`,
    });
  }
  return findings;
}
