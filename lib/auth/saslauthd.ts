/**
 * Cyrus saslauthd(8), asked through its socket. A request is login, password, service and realm, each with
 * its length in front (2 octets, most significant first); the answer is one such string, `OK` or `NO` and
 * perhaps a reason. One connection for each question, as Cyrus's own library does, so that a restart of
 * saslauthd is not noticed.
 *
 * Invariants: what was not answered by a whole `OK` is not ok, what was not answered by `NO` is not a wrong
 * password; the answer is bounded.
 */
import { connect } from 'node:net';
import { Unavailable } from '../errors.js';
import type { Answer, Ask, Question } from './outside.js';

/** RFC 5034 §4: the name of the service, in saslauthd's own settings and for its PAM. */
const SERVICE = 'pop';

/** MAX_REQ_LEN of saslauthd: it drops a request with a longer string. */
const MAX_STRING = 256;

/** Octets; saslauthd's own limit is 1024. */
const MAX_ANSWER = 2048;

/** Asks the saslauthd that listens on `path`. */
export function saslauthd(path: string): Ask {
  return async ({ user, password }: Question, signal): Promise<Answer> => {
    if (password.length > MAX_STRING) return { ok: false, reason: `password over ${MAX_STRING} octets` };
    // The whole name as login: a realm is ignored by some mechanisms, and alice@elsewhere would be alice.
    const request = frame([Buffer.from(user, 'latin1'), password, Buffer.from(SERVICE), Buffer.alloc(0)]);
    try {
      return readAnswer(await exchange(path, request, signal));
    } catch (cause) {
      throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause });
    } finally {
      request.fill(0);
    }
  };
}

function frame(strings: readonly Uint8Array[]): Buffer {
  const out = Buffer.alloc(strings.reduce((sum, string) => sum + 2 + string.length, 0));
  let at = 0;
  for (const string of strings) {
    at = out.writeUInt16BE(string.length, at);
    out.set(string, at);
    at += string.length;
  }
  return out;
}

/** @returns the string that was answered. @throws Error when there was none */
function exchange(path: string, request: Buffer, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = connect({ path });
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    signal.addEventListener('abort', () => fail(new Error(`${path}: no answer in time`)), { once: true });
    let answer = Buffer.alloc(0);
    socket.on('error', fail);
    socket.on('close', () => reject(new Error(`${path}: closed without a whole answer`)));
    socket.on('data', chunk => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length < 2) return;
      const end = 2 + answer.readUInt16BE(0);
      if (end > MAX_ANSWER || answer.length > end) return fail(new Error(`${path}: the answer is too long`));
      if (answer.length < end) return;
      socket.destroy();
      resolve(answer.toString('latin1', 2, end));
    });
    socket.write(request);
  });
}

function readAnswer(text: string): Answer {
  // Some versions count a NUL at the end.
  const [, verdict, reason] = /^(OK|NO)(?: ([^\0]*))?\0?$/.exec(text) ?? [];
  if (verdict === undefined) throw new Error(`neither OK nor NO: ${JSON.stringify(text.slice(0, 80))}`);
  if (verdict === 'OK') return { ok: true };
  return { ok: false, reason: `saslauthd: ${reason === undefined || reason === '' ? 'NO' : reason}` };
}
