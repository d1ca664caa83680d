/**
 * What root leaves behind for PAM when the server gives root up: `node pam-keep.js SERVICE LEAST-UID AT-ONCE
 * TIMEOUT`, started by PamKeeper. It reads questions, has processes answer them, and ends with the server.
 *
 * Whoever takes control of the server can ask here for users and passwords, and nothing else: not about uid
 * 0 and the system's users, so many at a time, and each refusal keeps a place a little longer. Anything that
 * is no question ends it.
 */
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeQuestion, encodeAnswer, FrameReader, numberOf, type PamAnswer } from './pam-frames.js';
import { becomeHelper } from './pam-process.js';
import { PamWorkers } from './pam-workers.js';
import { Turns } from './turns.js';

/** Milliseconds. With four places, forty wrong passwords a second at most. */
const AFTER_REFUSAL = 100;

/** Milliseconds that an idle process is kept. */
const KEEP = 30_000;

const [service = '', minimumUid = '', atOnce = '', timeout = ''] = process.argv.slice(2);
becomeHelper();

const workers = new PamWorkers({ service, minimumUid: Number(minimumUid), keep: KEEP });
const turns = new Turns(Number(atOnce), Number(timeout));
const input = new Socket({ fd: 0, readable: true, writable: false });
const output = new Socket({ fd: 1, readable: false, writable: true });
const reader = new FrameReader();

input.on('data', chunk => {
  try {
    reader.read(chunk, take);
  } catch {
    leave(1);
  }
});
input.on('end', () => leave(0));
for (const pipe of [input, output]) pipe.on('error', () => leave(0));

function leave(code: number): void {
  input.destroy();
  void workers.close().then(() => process.exit(code));
}

function take(frame: Buffer): void {
  const number = numberOf(frame);
  const question = decodeQuestion(frame);
  const reply = (answer: PamAnswer) => {
    if (output.write(encodeAnswer(number, answer))) return;
    // Who does not listen is not listened to.
    input.pause();
    output.once('drain', () => input.resume());
  };
  turns
    .run(async signal => {
      const answer = await workers.ask(question, signal);
      reply(answer);
      if (answer.verdict === 'refused') await sleep(AFTER_REFUSAL);
    })
    .catch((error: Error) => {
      const { cause = error } = error;
      reply({ verdict: 'failed', user: '', reason: cause instanceof Error ? cause.message : String(cause) });
    })
    .finally(() => question.password.fill(0));
}
