/**
 * The clients, which are small C programs so that they cost little beside a server on the same host: compiled at each
 * run by the system's cc.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { PASSWORD } from './site.mjs';

const NAMES = ['session', 'load', 'inetd', 'limits', 'calls'];

/** @returns {Record<string, string>} the path of each program */
export function compile(directory) {
  return Object.fromEntries(
    NAMES.map(name => {
      const program = join(directory, name);
      const source = new URL(`./c/${name}.c`, import.meta.url).pathname;
      execFileSync('cc', ['-O2', '-o', program, source], { stdio: 'inherit' });
      return [name, program];
    }),
  );
}

/** What a program says on its only line. */
export async function ask(program, ...args) {
  const { stdout } = await promisify(execFile)(program, args.map(String));
  return JSON.parse(stdout);
}

/** A program that answers in lines of JSON: with the first one when it is ready, then as it is told. */
export class Conversation {
  #child;
  #lines;
  #said = '';

  constructor(program, ...args) {
    this.#child = spawn(program, args.map(String), { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdin.on('error', () => {}); // It has ended, and said why.
    this.#child.stderr.on('data', chunk => {
      this.#said += chunk;
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** @param {string | undefined} step a line for its standard input; `undefined` for none */
  async next(step) {
    if (step !== undefined) this.#child.stdin.write(`${step}\n`);
    const { value } = await this.#lines.next();
    if (value !== undefined) return JSON.parse(value);
    if (this.#child.exitCode === null) await once(this.#child, 'close');
    throw new Error(this.#said.trim() || `it ended with ${this.#child.exitCode}`);
  }

  /** Ends its standard input. */
  end() {
    this.#child.stdin.end();
  }

  async ended() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
  }

  kill() {
    this.#child.kill('SIGKILL');
  }
}

/**
 * Opens a session and does something in it; then QUIT, unless that was done.
 *
 * @param work given `next` for steps of c/session.c and what opening said
 */
export async function inSession({ tools }, { port }, user, work, ...flags) {
  const client = new Conversation(tools.session, port, ...flags);
  try {
    const opened = await client.next(`open ${user} ${PASSWORD}`);
    const result = await work(step => client.next(step), opened);
    client.end();
    await client.ended();
    return result;
  } catch (error) {
    client.kill();
    throw error;
  }
}

/** Milliseconds from connect to the answer to STAT; and then QUIT, to the end of the connection. */
export async function openAndQuit(bench, server, user) {
  return inSession(bench, server, user, async (next, { ms }) => {
    await next('quit');
    return ms;
  });
}

/** The same of sessions of one client, each right after the one before, which are not only the first of anything. */
export async function openRepeatedly({ tools }, { port }, user, times) {
  const client = new Conversation(tools.session, port);
  const all = [];
  try {
    for (let n = 0; n <= times; n++) {
      const { ms } = await client.next(`open ${user} ${PASSWORD}`);
      await client.next('quit');
      if (n > 0) all.push(ms);
    }
    client.end();
    await client.ended();
    return all;
  } catch (error) {
    client.kill();
    throw error;
  }
}
