/** What the tests and the contention soak know of a delivery agent. */
import type { AgentHost } from './agent-host.js';

export interface Message {
  /** The whole message, LF at the line ends, without From_ line. Its Message-ID is `<ID@soak.example>`. */
  readonly text: string;
  readonly id: string;
}

export interface Agent {
  readonly name: string;
  /** Which locks it takes on the mailbox as configured here: it must share one with every other program. */
  readonly locks: 'dotlock' | 'fcntl' | 'both';
  /** Settings of its own that differ from Debian's defaults, for the report. */
  readonly settings: string;
  version(): Promise<string>;
  /**
   * Delivers a message into the mailbox of a user, trying again for as long as the agent says "later", as the mail
   * system behind it would.
   * @returns how often it was tried
   * @throws Error when the agent has given up
   */
  deliver(user: string, message: Message): Promise<number>;
}

/** Makes an agent on a host, with what it needs to run there. */
export type MakeAgent = (host: AgentHost) => Promise<Agent>;

/** The envelope sender of all messages. */
export const SENDER = 'ledger@example.com';

/** "Try again later", sysexits(3): what a mail system keeps in its queue. */
export const EX_TEMPFAIL = 75;

/** A message as a program writes it that appends it itself: mboxo quoting, and the empty line at the end. */
export function asMbox(text: string): string {
  // asctime(3), in UTC.
  const [day, date, month, year, time] = new Date().toUTCString().split(/,? /);
  return `From ${SENDER} ${day} ${month} ${date} ${time} ${year}\n${text.replace(/^From /gm, '>From ')}\n`;
}
