/**
 * What lies in a spool and is no mailbox, known by its name: what mail programs make beside the mailboxes to lock them,
 * which stays where one was killed, and what they put aside. Many of these names could be a user's, so whoever lists a
 * spool asks here; a login never does. Names as the programs make them, seen with strace(1) or in their sources.
 */
import { hostname } from 'node:os';

/** What a file is, as text for a human. */
export interface OtherFile {
  readonly what: string;
  /** It may hold mail that is in no mailbox, unless it is empty. */
  readonly mayHoldMail: boolean;
}

interface Kind {
  readonly name: RegExp;
  readonly what: string;
  readonly mayHoldMail?: boolean;
}

/** The file of a lock that was about to be made. */
const lockOf = (program: string) => `a lock that ${program} was making; remove it if it stays`;

const KINDS: readonly Kind[] = [
  // procmail, when a mailbox does not belong to its user: BOGUS.USER.UNIQUE.
  { name: /^BOGUS\../, what: 'mail that procmail has put aside', mayHoldMail: true },
  // qpopper moves a mailbox there, and back when the session is over.
  { name: /^\..+\.pop$/, what: 'mail that qpopper was serving', mayHoldMail: true },
  { name: /^\..+\.cache$/, what: 'an index of qpopper, which nobody else needs' },
  // USER.lock.HOST.TIME.PID of Exim, USER.lock.TIME.PID.HOST of alpine and UW imapd.
  { name: /^[^.].*\.lock\./i, what: lockOf('Exim or alpine') },
  // _PID , TIME . HOST, in letters; one of four characters in between.
  { name: /^_[\w-]+[.,+%][\w-]+\../, what: lockOf('procmail') },
  { name: /^\.lk\d{5,}[\da-f]/, what: lockOf('liblockfile') },
  { name: /^\.temp\../, what: lockOf('Dovecot') },
  { name: /^\.nfs[\da-f]{8}/, what: 'removed, and still open on a host that has the spool by NFS' },
  { name: /^lost\+found$/, what: "the file system's own directory" },
  { name: lockAt(hostname()), what: lockOf('mutt') },
];

/** USER.HOST.PID, the host with or without its domain. */
function lockAt(host: string): RegExp {
  const [first = '', ...domain] = host.split('.').map(label => label.replace(/[^\w-]/g, '\\$&'));
  const rest = domain.length > 0 ? `(?:\\.${domain.join('\\.')})?` : '';
  return new RegExp(`^[^.].*\\.${first}${rest}\\.\\d+$`);
}

/** @returns undefined when the name is none of those known: it may be a mailbox */
export function otherFile(name: string): OtherFile | undefined {
  const kind = KINDS.find(known => known.name.test(name));
  return kind && { what: kind.what, mayHoldMail: kind.mayHoldMail ?? false };
}
