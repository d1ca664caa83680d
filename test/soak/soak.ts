/**
 * The contention soak: every delivery agent, mutt and Dovecot against deleting POP3 sessions through every kind of
 * door, on the same mailboxes, with our processes stopped and killed at random; every message has an id, and in the
 * end a ledger must balance: nothing lost, nothing doubled, nothing altered. Needs root, and what .ci/run installs.
 *
 * usage: npm run soak -- [--minutes N] [--appends N] [--each N] [--seed N]
 *   --appends  messages in all, 4,500 a minute unless given; --each  by each real agent, 45 a minute
 *
 * Exit status 0 if it balances and no error was uncaught. The last line is `N passed, N failed`.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Agent } from '../agents/agent.js';
import { AgentHost } from '../agents/agent-host.js';
import { type Dovecot, startDovecot } from '../agents/dovecot.js';
import { exim } from '../agents/exim.js';
import { postfix } from '../agents/postfix-local.js';
import { dotlockScript, fcntlProgram, maildrop, ownDeliver, procmail } from '../agents/programs.js';
import { DOORS } from '../doors/kinds.js';
import { type Box, makeBoxes, modelOf, USERS } from './boxes.js';
import { appendFast, deliverBy } from './deliveries.js';
import { type Latency, latencyUser, measureLatencies } from './latency.js';
import { MemoryWatch } from './memory.js';
import { splitMailbox } from './messages.js';
import { Random } from './random.js';
import { identified, runDovecot, runMutt } from './readers.js';
import { ledgerTable, readLogs, table } from './report.js';
import { LOCK_YIELD, MODELS, Servers } from './servers.js';
import { HALF_DONE, lookAgain, runSessions, type Scene } from './sessions.js';
import { Tally } from './tally.js';
import { watchLocks } from './watchdog.js';

/** Of ten seconds each, at most, after all the others. */
const MORE_ROUNDS = 24;

const AGENTS = [postfix, procmail, maildrop, exim, dotlockScript, fcntlProgram, ownDeliver(modelOf)];

interface Size {
  readonly minutes: number;
  readonly appends: number;
  readonly each: number;
  readonly seed: number;
}

function sizeFrom(args: readonly string[]): Size {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '25' },
      appends: { type: 'string' },
      each: { type: 'string' },
      seed: { type: 'string' },
    },
  });
  const number = (text: string | undefined, otherwise: number): number => {
    const value = text === undefined ? otherwise : Number(text);
    if (!(value > 0)) throw new Error(`not a number above 0: ${text}`);
    return value;
  };
  const minutes = number(values.minutes, 25);
  return {
    minutes,
    appends: Math.ceil(number(values.appends, minutes * 4500)),
    each: Math.ceil(number(values.each, minutes * 45)),
    seed: number(values.seed, 1 + Math.floor(Math.random() * 2 ** 31)),
  };
}

/** The storm: everything at once, until all is delivered and the worst moment was tried; then sessions go on until the mailboxes are looked at. */
async function storm(
  size: Size,
  scene: Scene,
  host: AgentHost,
  boxes: Box[],
  agents: Agent[],
  dovecot: Dovecot,
) {
  const { random, tally } = scene;
  let over = false;
  const stop = () => over;
  const readers = { host, boxes, random, tally };
  const open = new Set<string>();
  const named = async (name: string, work: Promise<void>) => {
    open.add(name);
    await work;
    open.delete(name);
  };
  const others = [
    ...boxes.map(box => named(`sessions of ${box.user}`, runSessions(scene, box, stop))),
    named('mutt', runMutt(readers, stop)),
    named('Dovecot', runDovecot(readers, dovecot, stop)),
  ];
  const plan = { boxes, random, tally, deadline: performance.now() + size.minutes * 60_000 };
  const deliveries = [
    ...agents.map(agent => deliverBy(agent, size.each, plan)),
    appendFast(Math.max(0, size.appends - agents.length * size.each), plan, host.spool),
  ];
  // A failure of ours ends the soak; nothing is judged then.
  const failed = Promise.all(others).then(() => new Promise<never>(() => {}));
  await Promise.race([Promise.all(deliveries), failed]);
  // To kill at the worst moment takes luck, more of it on a fast or a busy host: it goes on until there was some.
  for (let rounds = 0; tally.of(HALF_DONE) === 0 && rounds < MORE_ROUNDS; rounds++) {
    const more = { ...plan, deadline: performance.now() + 10_000 };
    await Promise.race([appendFast(750, more, host.spool), failed]);
  }
  over = true;
  const slow = setInterval(() => console.log(`still at work: ${[...open].join(', ')}`), 10_000);
  await Promise.all(others);
  clearInterval(slow);
}

/** What is in the mailbox files now, by our servers and by reading them. */
async function lastLook(scene: Scene, host: AgentHost, boxes: readonly Box[]): Promise<Map<string, number>> {
  const left = new Map<string, number>();
  for (const box of boxes) {
    await lookAgain(scene, box);
    const messages = splitMailbox(readFileSync(host.mailbox(box.user), 'latin1'));
    const ids = new Set(messages.flatMap(message => identified(box.ledger, message)).map(({ id }) => id));
    if (ids.size !== messages.length)
      box.ledger.problem(`${messages.length} messages, ${ids.size} of them known`);
    left.set(box.user, ids.size);
    box.ledger.close();
  }
  return left;
}

async function recoverAll(host: AgentHost): Promise<string[]> {
  const problems: string[] = [];
  for (const model of MODELS) {
    const [node, program, ...flags] = host.program(model, []);
    const { code, stdout, stderr } = await host.run([node!, program!, 'recover', ...flags]);
    if (code !== 0) problems.push(`recover (${model}) ended with ${code}: ${stdout}${stderr}`);
  }
  return problems;
}

function waitsTable(
  tally: Tally,
  versions: ReadonlyMap<string, string>,
  latencies: readonly Latency[],
): string {
  const rows: (string | number)[][] = [
    ['agent', 'version', 'messages', 'median s', 'longest s', 'idle s', 'in RETR s'],
  ];
  const fast = ['fast fcntl', 'fast dotlock', 'fast both', 'fast policy'];
  for (const name of [...versions.keys(), ...fast, 'mutt', 'Dovecot']) {
    const { count, median, longest } = tally.timesOf(name);
    const latency = latencies.find(({ agent }) => agent === name);
    const quiet = [latency?.idle.toFixed(1) ?? '-', latency?.inRetr.toFixed(1) ?? '-'];
    rows.push([name, versions.get(name) ?? '-', count, median.toFixed(1), longest.toFixed(1), ...quiet]);
  }
  return table(rows);
}

/** Every program that takes part. @throws Error naming those that are missing */
async function mustHaveAll(host: AgentHost): Promise<void> {
  const doors = DOORS.flatMap(({ programs }) => programs);
  const others = [
    'procmail',
    'maildrop',
    'exim4',
    'postconf',
    'dotlockfile',
    'mutt',
    'script',
    'dovecot',
    'python3',
  ];
  const script = 'for p; do command -v "$p" >/dev/null || echo "$p"; done';
  const missing = await host.mustRun(['sh', '-c', script, 'sh', ...new Set([...doors, ...others])]);
  if (missing !== '') throw new Error(`not installed: ${missing.trim().replaceAll('\n', ' ')}`);
}

async function main(): Promise<boolean> {
  const size = sizeFrom(process.argv.slice(2));
  console.log(
    `soak: seed ${size.seed}, ${size.minutes} minutes, ${size.appends} messages, ${size.each} by each agent`,
  );
  const host = await AgentHost.create([...USERS, ...AGENTS.map((_, n) => latencyUser(n))]);
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => void host.close().then(() => process.exit(1)));
  }
  try {
    await mustHaveAll(host);
    return await soak(host, size);
  } finally {
    await host.close();
  }
}

async function soak(host: AgentHost, size: Size): Promise<boolean> {
  const random = new Random(size.seed);
  const tally = new Tally();
  const boxes = makeBoxes();
  const agents: Agent[] = [];
  for (const make of AGENTS) agents.push(await make(host));
  const versions = new Map<string, string>();
  for (const agent of agents) versions.set(agent.name, (await agent.version()).slice(0, 40));
  const dovecot = await startDovecot(host);
  const servers = await Servers.start(host);
  const scene: Scene = { servers, random, tally };
  console.log('servers:', servers.all.map(({ name }) => name).join('; '));
  const latencies = await measureLatencies(host, servers.watched.port, agents);
  const memory = new MemoryWatch(() => servers.watched.pid);
  const progress = setInterval(() => printProgress(boxes), 30_000);
  const watch = watchLocks(host, boxes);
  await storm(size, scene, host, boxes, agents, dovecot);
  clearInterval(progress);
  clearInterval(watch);
  const { slope, first, last, highest } = memory.end();
  const left = await lastLook(scene, host, boxes);
  await servers.end();
  const problems = [...boxes.flatMap(({ ledger }) => ledger.errors), ...(await recoverAll(host))];
  const { uncaught, events, remarkable } = readLogs(host.root);
  const { text, balance } = ledgerTable(boxes, left);
  console.log(`\n${tally.lines.join('\n')}`);
  console.log(`\nlog: ${[...events].map(([name, count]) => `${name} ${count}`).join(', ')}`);
  for (const line of remarkable.slice(0, 40)) console.log(line);
  console.log(`\n${waitsTable(tally, versions, latencies)}`);
  console.log(`(idle, in RETR: until a delivery got in past a silent session, lock-yield ${LOCK_YIELD} s)`);
  console.log(`\n${text}\n`);
  console.log(`retrieved: ${boxes.reduce((sum, { ledger }) => sum + ledger.retrieved, 0)}`);
  console.log(`server starts: ${servers.all.map(({ name, starts }) => `${name} ${starts}`).join(', ')}`);
  console.log(
    `memory of the daemon, MiB: ${first.toFixed(1)} to ${last.toFixed(1)}, highest ${highest.toFixed(1)}, slope ${slope.toFixed(3)} a minute`,
  );
  console.log(`uncaught errors: ${uncaught.length}`);
  for (const line of [...uncaught.slice(0, 50), ...problems.slice(0, 200)]) console.log(line);
  for (const line of boxes.flatMap(({ ledger }) => ledger.told).slice(0, 500)) console.log(line);
  // Else the worst moment was never tried.
  const triedHalfDone = tally.of(HALF_DONE) > 0;
  const checks = [balance === 0, problems.length === 0, uncaught.length === 0, triedHalfDone];
  const passed = checks.filter(Boolean).length;
  console.log(`${passed} passed, ${checks.length - passed} failed`);
  return passed === checks.length;
}

function printProgress(boxes: readonly Box[]): void {
  const appended = boxes.reduce((sum, { ledger }) => sum + ledger.deliveries, 0);
  const present = boxes.map(({ user, ledger }) => `${user} ${ledger.present}`).join(', ');
  const errors = boxes.reduce((sum, { ledger }) => sum + ledger.errors.length, 0);
  console.log(
    `${new Date().toISOString().slice(11, 19)} appended ${appended}, errors ${errors}, waiting: ${present}`,
  );
}

const balanced = await main().catch(async error => {
  console.error(error);
  await sleep(0);
  console.log('0 passed, 1 failed');
  return false;
});
process.exit(balanced ? 0 : 1);
