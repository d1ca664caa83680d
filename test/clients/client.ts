/** What the tests want of each client, and how its own additions to a message are told apart from ours. */
import type { RunningServer } from './server.js';

export interface Client {
  readonly name: string;
  /** What must be installed. */
  readonly programs: readonly string[];
  /** Whether `download` gives messages as they came, or with LF line ends as the client stores them. */
  readonly form: 'wire' | 'lf';
  /** Example mailboxes whose messages the client stores as they are; what it does to the others is said there. */
  readonly mailboxes: readonly string[];
  /** All messages of a user, without what the client adds. */
  download(server: RunningServer, user: string): Promise<string[]>;
  /** Messages of `judy` that `remove` can remove. */
  readonly removes: readonly number[];
  /** Removes messages and ends the session with QUIT. */
  remove(server: RunningServer, user: string, numbers: readonly number[]): Promise<void>;
}

/** The example mailboxes that have messages. */
export const ALL_MAILBOXES = [
  ...['alice', 'bob', 'carol', 'dave', 'grace', 'heidi', 'ivan', 'judy', 'niaj', 'olivia'],
  ...['peggy', 'rupert', 'sybil', 'trent', 'victor'],
] as const;

export function mailboxesBut(...without: (typeof ALL_MAILBOXES)[number][]): string[] {
  return ALL_MAILBOXES.filter(name => !without.includes(name));
}

/** Cuts `text` at the front. @throws when it does not begin so */
export function cutFront(text: string, expected: RegExp): string {
  const match = expected.exec(text);
  if (match?.index !== 0)
    throw new Error(`expected ${expected} before: ${JSON.stringify(text.slice(0, 300))}`);
  return text.slice(match[0].length);
}
