/**
 * An attack on the daemon, and what must be true after every one of them: a good client was served all the
 * time, the process is the same and lives, it has no descriptor and hardly any memory more than before, its log
 * tells of no error, mailboxes are as they were and no lock is left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { expect, onTestFinished } from 'vitest';
import { message } from '../support/mailbox.js';
import type { Running } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { type ServePlaces, servePlaces, serving } from '../support/serving.js';
import { filesOf } from '../support/tls/certificates.js';

export const FULL = process.env.HOSTILE === 'full';
export const MiB = 1 << 20;

/** The good client's; others have mailboxes by `SiegeOptions`. */
const GOOD = 'good';
const GOOD_MESSAGE = message(GOOD, 'All is well.\n'.repeat(100));
/** Sessions after which the server has loaded and compiled what it needs. */
const WARM_UP = FULL ? 200 : 40;

export interface SiegeOptions {
  /** What is attacked, for the figures printed. */
  readonly name: string;
  readonly mailboxes?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
  /** The most memory that may come on top of that before the attack, at any time, in octets. */
  readonly mostGrowth: number;
  /** Where the good client goes. */
  readonly good?: 'plain' | 'tls';
}

export interface Target {
  readonly server: Running;
  readonly places: ServePlaces;
  /** POP3 with STLS. */
  readonly port: number;
  /** TLS from the first octet. */
  readonly tls: number;
  /** Says how much memory there is now, on top of that before the attack, in octets. */
  growth(): number;
  /** Prints a line of figures. */
  note(text: string): void;
}

/** Attacks a server made for that, and holds what must be true afterwards. */
export async function besiege(options: SiegeOptions, attack: (target: Target) => Promise<void>) {
  const places = servePlaces({ ...options.mailboxes, [GOOD]: GOOD_MESSAGE });
  const { cert, key } = filesOf('ec');
  const { server, port } = await serving(places, [
    ...['--tls-listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key],
    ...['--max-connections', '15000', '--failure-delay', '0', '--max-failure-delay', '0'],
    ...(options.flags ?? []),
  ]);
  const [tls] = await server.tlsPorts();
  const good = new GoodClient(options.good ?? 'plain', options.good === 'tls' ? tls! : port);
  await server.until(() => count(server, / login user=good /g) >= WARM_UP);
  const idle = await good.report();
  const before = { memory: server.memory(), descriptors: descriptors(server) };
  const note = (text: string) => process.stdout.write(`${options.name}: ${text}\n`);

  const growth = () => server.memory() - before.memory;
  const logins = count(server, / login user=good /g);
  await attack({ server, places, port, tls: tls!, growth, note });

  // However short the attack was, a session from its beginning to its end is among those counted.
  await server.until(() => count(server, / login user=good /g) >= logins + 3);
  const during = await good.report();
  await good.leave();
  note(
    `good client ${inWords(idle)} idle, ${inWords(during)} attacked; memory ${mega(before.memory)} MiB, ` +
      `at most ${mega(server.memory('VmHWM') - before.memory)} more`,
  );
  expect(idle.failures).toEqual([]);
  expect(during.failures).toEqual([]);
  expect(during.sessions).toBeGreaterThan(0);
  await allGone(server, before.descriptors);
  expect(server.memory('VmHWM') - before.memory).toBeLessThan(options.mostGrowth);
  expectInnocent(server);
  await expectUntouched(places, { ...options.mailboxes, [GOOD]: GOOD_MESSAGE });
  expect(await server.stop()).toBe(0);
}

/** Waits until the server has no descriptor more than in the beginning, when only the good client was there. */
async function allGone(server: Running, before: number): Promise<void> {
  while (descriptors(server) > before) await new Promise(resolve => setTimeout(resolve, 20));
}

export function descriptors(server: Running): number {
  return readdirSync(`/proc/${server.pid}/fd`).length;
}

/** Nothing that a client does is an error of ours, or a word on stderr that is no line of the log. */
export function expectInnocent(server: Running): void {
  expect(server.child.exitCode).toBe(null);
  const lines = server.stderr().split('\n');
  expect(lines.filter(line => line !== '' && !/^\S+Z (info|warn) /.test(line))).toEqual([]);
  expect(lines.filter(line => /internal-error|release-failed|update-failed|crash/.test(line))).toEqual([]);
}

/** No dotlock, soon no temporary file, and every octet where it was. */
export async function expectUntouched(
  places: ServePlaces,
  mailboxes: Readonly<Record<string, string>>,
): Promise<void> {
  expect(readdirSync(places.spool).filter(name => name.endsWith('.lock'))).toEqual([]);
  const names = () => readdirSync(places.spool).sort();
  await expect.poll(names, { timeout: 30_000 }).toEqual(Object.keys(mailboxes).sort());
  for (const [user, content] of Object.entries(mailboxes)) {
    expect(places.content(user) === content, `mailbox of ${user} as it was`).toBe(true);
  }
}

/** How many lines of the log match. */
export function count(server: Running, pattern: RegExp): number {
  return server.stderr().match(pattern)?.length ?? 0;
}

/** Waits until so many lines of the log match; more are a failure. */
export async function expectLogged(server: Running, pattern: RegExp, times: number): Promise<void> {
  await server.until(() => count(server, pattern) >= times);
  expect(count(server, pattern)).toBe(times);
}

/**
 * Waits until the log has told of so many events, in lines or in the sum of those that have none; more are a
 * failure.
 * @param reason of those that have a line
 */
export async function expectEnds(
  server: Running,
  event: string,
  reason: string,
  times: number,
): Promise<void> {
  const told = () => {
    const sums = server.stderr().matchAll(new RegExp(` refused-more of=${event} connections=(\\d+)`, 'g'));
    const lines = count(server, new RegExp(` ${event} reason=`, 'g'));
    return [...sums].reduce((sum, [, more]) => sum + Number(more), lines);
  };
  await server.until(() => told() >= times);
  expect(told()).toBe(times);
  expect(count(server, new RegExp(` ${event} reason=(?!${reason})`, 'g'))).toBe(0);
}

/** Octets that lie at the server's end of a connection over 127.0.0.0/8 and that it has not read (proc_net_tcp(5)). */
export function unread(port: number, clientPort: number): number {
  const hex = (number: number) => number.toString(16).toUpperCase().padStart(4, '0');
  const row = new RegExp(
    `:${hex(port)} [0-9A-F]{8}:${hex(clientPort)} [0-9A-F]{2} [0-9A-F]{8}:([0-9A-F]{8})`,
  );
  return Number.parseInt(row.exec(readFileSync('/proc/net/tcp', 'latin1'))?.[1] ?? '0', 16);
}

export const mega = (octets: number) => (octets / MiB).toFixed(1);

interface Report {
  readonly sessions: number;
  readonly p50: number;
  readonly p99: number;
  readonly failures: readonly string[];
}

const inWords = ({ sessions, p50, p99 }: Report) =>
  `p50 ${p50.toFixed(1)} p99 ${p99.toFixed(1)} ms (${sessions})`;

/** See good-client.mjs. */
class GoodClient {
  readonly #child: ChildProcess;
  readonly #reports: AsyncIterator<string>;

  constructor(how: 'plain' | 'tls', port: number) {
    const program = new URL('good-client.mjs', import.meta.url).pathname;
    // The status line, the message without its From_ line, the terminator.
    const lines = GOOD_MESSAGE.split('\n').length - 1;
    const args = [program, how, String(port), GOOD, passwordOf(GOOD), String(lines)];
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#reports = createInterface(this.#child.stdout!)[Symbol.asyncIterator]();
    onTestFinished(() => {
      this.#child.kill('SIGKILL');
    });
  }

  /** What happened since the last one. */
  async report(): Promise<Report> {
    this.#child.stdin!.write('\n');
    return JSON.parse((await this.#reports.next()).value);
  }

  async leave(): Promise<void> {
    this.#child.stdin!.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}
