/**
 * A password from the terminal, without echo, or else the first line of standard input. Never from the
 * arguments, which everybody on the host can read while we run.
 *
 * Invariant: octets. What a terminal gives is UTF-8; what a pipe gives stays as it is.
 */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { passwordProblem } from '../auth/password.js';
import { EX, UsageError } from '../errors.js';

/** As shells count a program that was interrupted. */
const INTERRUPTED = 130;
const MAX_LINE = 4096;

/** A password that is to be stored; from a terminal, asked for twice. @throws UsageError */
export async function newPassword(user: string, fromStdin: boolean): Promise<Uint8Array> {
  if (!asks(fromStdin)) return usable(await firstLine());
  const password = usable(await ask(`New password for ${user}: `));
  const again = await ask('The same again: ');
  if (!password.equals(again)) throw new UsageError('the passwords differ; nothing changed', EX.USAGE);
  return password;
}

/** A password that is to be tried. @throws UsageError */
export async function anyPassword(user: string, fromStdin: boolean): Promise<Uint8Array> {
  return asks(fromStdin) ? ask(`Password of ${user}: `) : firstLine();
}

function asks(fromStdin: boolean): boolean {
  return !fromStdin && process.stdin.isTTY === true;
}

/** No user could log in with any other: USER and PASS, and SASL, take one line. */
function usable(password: Buffer): Buffer {
  const problem =
    passwordProblem(password) ?? (/[\r\n]/.test(password.toString('latin1')) ? 'CR in password' : undefined);
  if (problem !== undefined) throw new UsageError(`${problem}; nothing changed`, EX.USAGE);
  return password;
}

function ask(prompt: string): Promise<Buffer> {
  // Takes what readline would echo.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 });
  process.stderr.write(prompt);
  return new Promise((resolve, reject) => {
    const fail = (message: string, code: number) => reject(new UsageError(message, code));
    lines.once('SIGINT', () => fail('interrupted; nothing changed', INTERRUPTED));
    lines.once('close', () => fail('no password given', EX.USAGE));
    lines.once('line', line => resolve(Buffer.from(line)));
  }).finally(() => {
    lines.close();
    process.stderr.write('\n');
  }) as Promise<Buffer>;
}

async function firstLine(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin) {
    const octets = Buffer.from(chunk);
    chunks.push(octets);
    length += octets.length;
    if (octets.includes('\n') || length > MAX_LINE) break;
  }
  const text = Buffer.concat(chunks).toString('latin1');
  if (text === '') throw new UsageError('no password on standard input', EX.USAGE);
  return Buffer.from(text.replace(/\r?\n.*$/s, ''), 'latin1');
}
