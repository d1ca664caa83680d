/** PAM as a backend. What calls it is a process of its own, see lib/host/pam-workers.ts. */
import { Unavailable } from '../errors.js';
import type { PamAnswer, PamQuestion } from '../host/pam-frames.js';
import type { Answer, Ask } from './outside.js';

/** @param ask throws when there is no answer */
export function pam(ask: (question: PamQuestion, signal: AbortSignal) => Promise<PamAnswer>): Ask {
  return async ({ user, password, peer }, signal): Promise<Answer> => {
    // An IPv6 zone may have any name; modules want a numeric address.
    const [address = ''] = peer.address.split('%', 1);
    const { verdict, ...answer } = await ask({ user, password, address }, signal).catch(unavailable);
    switch (verdict) {
      case 'right':
        return { ok: true, user: answer.user };
      case 'refused':
        return { ok: false, reason: `PAM: ${answer.reason}` };
      case 'failed':
        return unavailable(new Error(answer.reason));
    }
  };
}

function unavailable(cause: unknown): never {
  throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause });
}
