/**
 * Runs a program with the checkpassword interface (https://cr.yp.to/checkpwd/interface.html): it reads
 * `user NUL password NUL timestamp NUL` from descriptor 3, and for a right password becomes the user and
 * runs the program given to it, which is a shell here that prints its ids.
 *
 * Invariants: the shell may belong to the user who has logged in, so what it prints is only about ids,
 * never about who it is; exit code 0 without that line is no yes, for then nothing was run. The program
 * gets none of our descriptors and environment, and what it prints is bounded.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { killWithDescendants } from './processes.js';

export interface CheckpasswordRequest {
  /** An absolute path and arguments. */
  readonly command: readonly string[];
  readonly user: string;
  readonly password: Uint8Array;
  /** The address and port of the client, as ucspi-tcp gives them. */
  readonly address: string;
  readonly port: number;
}

/** How it ended. `ids` are those of what it ran for a right password. */
export type CheckpasswordResult =
  | { readonly is: 'right'; readonly uid: number; readonly gid: number }
  | { readonly is: 'wrong' }
  | { readonly is: 'failed'; readonly why: string };

/** The interface: a program may read no more than this from descriptor 3. */
export const MAX_CHECKPASSWORD = 512;

const REPORT = 'PATH=/usr/bin:/bin; echo "mbox-pop3d: $(id -u) $(id -g)"';

/** Octets kept of what it prints. */
const MAX_OUTPUT = 1024;

/** @param signal kills it. @throws RangeError when user and password are longer than the interface allows */
export async function checkpassword(
  request: CheckpasswordRequest,
  signal: AbortSignal,
): Promise<CheckpasswordResult> {
  const input = inputOf(request);
  try {
    return await run(request, input, signal);
  } catch (error) {
    return { is: 'failed', why: error instanceof Error ? error.message : String(error) };
  } finally {
    input.fill(0);
  }
}

async function run(
  request: CheckpasswordRequest,
  input: Buffer,
  signal: AbortSignal,
): Promise<CheckpasswordResult> {
  signal.throwIfAborted();
  const [program = '', ...args] = request.command;
  const child = spawn(program, [...args, '/bin/sh', '-c', REPORT], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: environmentOf(request),
    cwd: '/',
  });
  // Not started at all. When descriptors have run out, it has no streams either.
  if (child.pid === undefined) throw (await once(child, 'error'))[0];
  const closed = once(child, 'close');
  const [, stdout, stderr, toProgram] = child.stdio as unknown as [null, Readable, Readable, Writable];
  const stop = () => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      killWithDescendants(child.pid);
    // Whoever escaped that may have them open still.
    for (const stream of [stdout, stderr, toProgram]) stream.destroy();
  };
  signal.addEventListener('abort', stop, { once: true });
  const output = keep(stdout);
  const complaints = keep(stderr);
  // It may end without reading all, or anything.
  toProgram.on('error', () => {});
  toProgram.end(input);
  try {
    const [code, killedBy] = await closed;
    return resultOf(code, killedBy, output(), complaints());
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function inputOf({ user, password }: CheckpasswordRequest): Buffer {
  // A time, not a timestamp of APOP: nothing in the password is a digest.
  const timestamp = `Y${Math.floor(Date.now() / 1000)}`;
  const length = user.length + password.length + timestamp.length + 3;
  if (length > MAX_CHECKPASSWORD) throw new RangeError('too long for descriptor 3');
  const input = Buffer.alloc(length);
  input.write(user, 0, 'latin1');
  input.set(password, user.length + 1);
  input.write(timestamp, user.length + password.length + 2, 'latin1');
  return input;
}

function environmentOf({ address, port }: CheckpasswordRequest): Record<string, string> {
  const tcp = address.includes(':') ? 'TCP6' : 'TCP';
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin',
    SERVICE: 'pop3',
    PROTO: tcp,
    TCPREMOTEIP: address,
    TCPREMOTEPORT: String(port),
  };
}

/** Reads all of a stream, keeps the beginning. */
function keep(stream: Readable): () => string {
  let kept = '';
  stream.setEncoding('latin1').on('data', (text: string) => {
    kept += text.slice(0, MAX_OUTPUT - kept.length);
  });
  return () => kept;
}

function resultOf(
  code: number | null,
  killedBy: string | null,
  output: string,
  complaints: string,
): CheckpasswordResult {
  if (code === 1) return { is: 'wrong' };
  const [, uid, gid] = /^mbox-pop3d: ([0-9]{1,10}) ([0-9]{1,10})$/m.exec(output) ?? [];
  if (code === 0 && uid !== undefined) return { is: 'right', uid: Number(uid), gid: Number(gid) };
  const ended = code === 0 ? 'it ran nothing' : (killedBy ?? `exit code ${code}`);
  const [first] = complaints.trim().split('\n', 1);
  return { is: 'failed', why: first === '' || first === undefined ? ended : `${ended}: ${first}` };
}
