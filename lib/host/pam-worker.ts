/**
 * A process of root's that asks PAM and does nothing else: `node pam-worker.js SERVICE LEAST-UID PARENT`, started
 * by PamWorkers. It reads questions from descriptor 0, one at a time, answers on descriptor 1, and ends when
 * nobody can ask any more. While a module works, nothing else happens here; whoever started it kills it
 * when that takes too long.
 *
 * Invariant: of uid 0 and of the system's users nothing is asked, so that no password of theirs can be
 * guessed here, by whomever.
 */
import { Socket } from 'node:net';
import { linuxHost } from './linux.js';
import {
  decodeQuestion,
  encodeAnswer,
  FrameReader,
  numberOf,
  type PamAnswer,
  type PamQuestion,
} from './pam-frames.js';
import { becomeHelper, endWith } from './pam-process.js';

const [service = '', leastUid = '', parent = ''] = process.argv.slice(2);
becomeHelper();
endWith(Number(parent));

/** A host without libpam answers that, instead of nothing. */
const askPam: typeof import('./pam.js').askPam = await import('./pam.js').then(
  pam => pam.askPam,
  (error: unknown) => () => {
    throw error;
  },
);

const input = new Socket({ fd: 0, readable: true, writable: false });
const output = new Socket({ fd: 1, readable: false, writable: true });
const reader = new FrameReader();
input.on('data', chunk => reader.read(chunk, answer));
input.on('end', () => process.exit(0));
for (const pipe of [input, output]) pipe.on('error', () => process.exit(0));

function answer(frame: Buffer): void {
  const question = decodeQuestion(frame);
  try {
    output.write(encodeAnswer(numberOf(frame), check(question)));
  } finally {
    question.password.fill(0);
  }
}

function check(question: PamQuestion): PamAnswer {
  try {
    const barred = barredBecause(question.user);
    if (barred !== undefined) return { verdict: 'refused', user: '', reason: barred };
    const found = askPam(service, question);
    const renamed =
      found.verdict === 'right' && found.user !== question.user ? barredBecause(found.user) : undefined;
    return renamed === undefined ? found : { verdict: 'refused', user: '', reason: renamed };
  } catch (error) {
    // A source of passwd(5) that is down.
    return { verdict: 'failed', user: '', reason: error instanceof Error ? error.message : String(error) };
  }
}

function barredBecause(name: string): string | undefined {
  if (name === 'root') return 'uid or gid 0';
  const user = linuxHost.findUser(name);
  if (user === undefined) return undefined;
  if (user.uid === 0 || user.gid === 0) return 'uid or gid 0';
  return user.uid < Number(leastUid) ? `uid ${user.uid} is below ${leastUid}` : undefined;
}
