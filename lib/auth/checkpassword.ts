/**
 * A checkpassword program as a backend: qmail's interface, for which there are programs for many kinds of
 * accounts. It runs with the ids we have when passwords are checked.
 */
import { Unavailable } from '../errors.js';
import { checkpassword, MAX_CHECKPASSWORD } from '../host/checkpassword.js';
import type { Answer, Ask } from './outside.js';

/** NULs, and the time that goes with it. */
const OVERHEAD = 3 + 'Y1234567890'.length;

/**
 * Asks a program.
 * @param command an absolute path and arguments
 * @param ownUid the uid we have when it runs: of a program that did not change it, nothing is learnt
 */
export function checkpasswordProgram(command: readonly string[], ownUid: () => number): Ask {
  return async ({ user, password, peer }, signal): Promise<Answer> => {
    if (user.length + password.length + OVERHEAD > MAX_CHECKPASSWORD) {
      return { ok: false, reason: 'name and password too long for checkpassword' };
    }
    const { address, port } = peer;
    const before = ownUid();
    const result = await checkpassword({ command, user, password, address, port }, signal);
    switch (result.is) {
      case 'right':
        return result.uid === before ? { ok: true } : { ok: true, uid: result.uid, gid: result.gid };
      case 'wrong':
        return { ok: false, reason: 'checkpassword: wrong' };
      case 'failed':
        throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', {
          cause: new Error(`${command[0]}: ${result.why}`),
        });
    }
  };
}
