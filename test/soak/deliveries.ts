/**
 * Deliveries: by each real agent, several at a time, and by fast appenders of each kind, as many as asked for, evenly
 * over the time there is. A mailbox that sessions cannot keep up with is left alone for a while.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, asMbox } from '../agents/agent.js';
import { REPOSITORY, SYSTEM_PATH } from '../agents/run.js';
import type { Box } from './boxes.js';
import { type Mail, makeMail } from './messages.js';
import type { Random } from './random.js';
import type { Tally } from './tally.js';

/** How many deliveries each real agent has under way: most of them wait for a lock. */
const AT_A_TIME = 6;
/** No further deliveries into a mailbox with so many messages. */
const FULL = 1500;

const KINDS = { dotlock: ['dotlock', 'both', 'policy'], fcntl: ['fcntl', 'both', 'policy'] } as const;

export interface Plan {
  readonly boxes: readonly Box[];
  readonly random: Random;
  readonly tally: Tally;
  /** When all of them should be done, of `performance.now()`. */
  readonly deadline: number;
}

/** Even steps from now to the deadline; who is late does not wait. */
class Pace {
  readonly #start = performance.now();
  #done = 0;

  constructor(
    private readonly quota: number,
    private readonly deadline: number,
  ) {}

  /** Takes one of the quota, when it is time. @returns false when all are taken */
  async next(): Promise<boolean> {
    if (this.#done >= this.quota) return false;
    const due = this.#start + ((this.deadline - this.#start) * this.#done++) / this.quota;
    const early = due - performance.now();
    if (early > 0) await sleep(early);
    return true;
  }
}

let serial = 0;

function nextMail(by: string, { random }: Plan): Mail {
  const reader = random.chance(0.97) ? 'pop3' : random.pick(['mutt', 'dovecot'] as const);
  return makeMail(`${by.replace(/\W+/g, '')}.${++serial}`, reader, random);
}

/** One real agent delivers its quota, to all mailboxes whose lock it takes. */
export async function deliverBy(agent: Agent, quota: number, plan: Plan): Promise<void> {
  const { tally, random } = plan;
  const boxes = plan.boxes.filter(({ lock }) => agent.locks === 'both' || agent.locks === lock);
  const pace = new Pace(quota, plan.deadline);
  const work = async () => {
    while (await pace.next()) {
      const box = random.pick(boxes);
      const mail = nextMail(agent.name, plan);
      box.ledger.handOver(mail);
      const start = performance.now();
      try {
        const tries = await agent.deliver(box.user, mail);
        if (tries > 1) tally.count(`${agent.name}: deferred`, tries - 1);
        box.ledger.delivered(mail.id);
      } catch (error) {
        box.ledger.problem(`${agent.name} has given up: ${error}`);
      }
      tally.time(agent.name, performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
}

/** The fast appenders: a process for each kind and mailbox. */
export async function appendFast(quota: number, plan: Plan, spool: string): Promise<void> {
  const pace = new Pace(quota, plan.deadline);
  const workers = plan.boxes.flatMap(box => KINDS[box.lock].map(kind => ({ box, kind })));
  await Promise.all(workers.map(({ box, kind }) => appendTo(box, kind, pace, plan, join(spool, box.user))));
}

async function appendTo(box: Box, kind: string, pace: Pace, plan: Plan, path: string): Promise<void> {
  const appender = new Appender(kind);
  while (await pace.next()) {
    while (box.ledger.present > FULL) await sleep(200);
    const mail = nextMail(`fast ${kind}`, plan);
    box.ledger.handOver(mail);
    const waited = await appender.append(path, asMbox(mail.text));
    box.ledger.delivered(mail.id);
    plan.tally.time(`fast ${kind}`, waited);
  }
  appender.end();
}

class Appender {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(kind: string) {
    const program = join(REPOSITORY, 'test/soak/appender.py');
    this.#child = spawn('python3', [program, kind], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: SYSTEM_PATH },
    });
    this.#answers = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** @returns milliseconds it waited for the lock */
  async append(path: string, text: string): Promise<number> {
    const line = `${path} ${Buffer.from(text, 'latin1').toString('base64')}\n`;
    if (!this.#child.stdin!.write(line)) await once(this.#child.stdin!, 'drain');
    const { value } = await this.#answers.next();
    const answer = /^ok (\d+)$/.exec(String(value));
    if (!answer) throw new Error(`the appender said: ${value}`);
    return Number(answer[1]);
  }

  end(): void {
    this.#child.stdin!.end();
  }
}
