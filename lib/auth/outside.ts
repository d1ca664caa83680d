/**
 * What is the same for every backend that is not in this process: saslauthd, PAM, a checkpassword program.
 * The rules for names, passwords and ids come before it is asked; who it let in gets the ids that passwd(5)
 * has for that name, and the name as it is written there.
 *
 * Invariants: nobody becomes uid or gid 0, and no user of the system is even asked about; the mailbox is
 * found by a name that keeps the rules for user names, whatever the backend says.
 */
import { Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Turns } from '../host/turns.js';
import type { Account, PasswordChecker, Peer, Verdict } from '../pop3/ports.js';
import { passwordProblem } from './password.js';
import { isUserName, userNameFrom } from './user-name.js';

/** What the backend is asked. */
export interface Question {
  readonly user: string;
  readonly password: Uint8Array;
  readonly peer: Peer;
}

/** What it answers. It throws `Unavailable` when it cannot tell. */
export type Answer =
  | {
      readonly ok: true;
      /** The name that it says this user has, if that is another. */
      readonly user?: string;
      /** Ids that it gives. Used where passwd(5) has none, and must not contradict it. */
      readonly uid?: number;
      readonly gid?: number;
    }
  | { readonly ok: false; readonly reason: string };

export type Ask = (question: Question, signal: AbortSignal) => Promise<Answer>;

export interface OutsideRules {
  readonly host: Pick<Host, 'findUser'>;
  /** The lowest uid in passwd(5) that may log in; 0 never may. */
  readonly minimumUid: number;
  readonly turns: Turns;
}

export class Outside implements PasswordChecker {
  constructor(
    private readonly ask: Ask,
    private readonly rules: OutsideRules,
  ) {}

  async checkPassword(user: Uint8Array, password: Uint8Array, peer: Peer): Promise<Verdict> {
    const name = userNameFrom(user);
    const refused = name === undefined ? 'unknown user' : passwordProblem(password);
    if (name === undefined || refused !== undefined) return { refused: refused ?? 'unknown user' };
    const expected = this.#accountOf(name);
    if ('refused' in expected) return expected;
    const question = { user: name, password, peer };
    const answer = await this.rules.turns.run(signal => this.ask(question, signal));
    if (!answer.ok) return { refused: answer.reason };
    const named = answer.user === undefined || answer.user === name ? expected : this.#accountOf(answer.user);
    return 'refused' in named ? named : { account: withIds(named.account, answer) };
  }

  /** The account of a name by passwd(5); of one that is not there, the name alone. */
  #accountOf(name: string): Verdict {
    if (!isUserName(name)) return { refused: 'not a user name' };
    if (name === 'root') return { refused: 'uid or gid 0' };
    const known = this.#look(name);
    if (known === undefined) return { account: { user: name } };
    const { uid, gid } = known;
    if (uid === 0 || gid === 0) return { refused: 'uid or gid 0' };
    const { minimumUid } = this.rules;
    if (uid < minimumUid) return { refused: `uid ${uid} is below ${minimumUid}` };
    if (!isUserName(known.name)) return { refused: 'not a user name' };
    return { account: { user: known.name, uid, gid } };
  }

  #look(name: string) {
    try {
      return this.rules.host.findUser(name);
    } catch (cause) {
      throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause });
    }
  }
}

/** @throws Unavailable SYS/PERM when backend and passwd(5) do not mean the same user */
function withIds(account: Account, { uid, gid }: Extract<Answer, { ok: true }>): Account {
  if (uid === undefined || gid === undefined) return account;
  if (uid === 0 || gid === 0 || (account.uid !== undefined && account.uid !== uid)) {
    const cause = new Error(`the backend says uid ${uid} gid ${gid}, passwd(5) ${account.uid ?? 'nothing'}`);
    throw new Unavailable('SYS/PERM', 'no mailbox for this user', { cause });
  }
  return account.uid === undefined ? { ...account, uid, gid } : account;
}
