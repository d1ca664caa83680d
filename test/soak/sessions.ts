/**
 * POP3 sessions on one mailbox, one after the other, each by a door and with a course drawn by lot: most read all
 * and delete some; others vanish, dawdle until the mailbox locks are yielded, read slowly, are stopped for a while,
 * or have their server killed, before QUIT or in UPDATE, also when the mailbox file is half done. Each tells the ledger what it saw and what became of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PASSWORD } from '../agents/agent-host.js';
import type { Box } from './boxes.js';
import type { Sighting } from './ledger.js';
import { identify } from './messages.js';
import { Gone, Pop3, Silence } from './pop3.js';
import type { Random } from './random.js';
import { LOCK_YIELD, type Server, type Servers, signal } from './servers.js';
import type { Tally } from './tally.js';

/** How often each course is taken. */
const COURSES = {
  'delete some': 30,
  'delete all': 25,
  'kill in UPDATE': 12,
  'kill half done': 12,
  'kill before QUIT': 5,
  'vanish without QUIT': 5,
  'stop, go on, delete': 5,
  'stop in UPDATE': 5,
  'idle past the yield': 6,
  'read slowly': 4,
  RSET: 3,
} as const;

type Course = keyof typeof COURSES | 'look';

/** How often a server was killed while the mailbox file was half done, and its dotlock said so. */
export const HALF_DONE = 'killed while the mailbox was half done';
/** An UPDATE that moves nothing is never half done, milliseconds. */
const HALF_DONE_WITHIN = 1000;

const PAST_YIELD = LOCK_YIELD * 1000 + 500;

export interface Scene {
  readonly servers: Servers;
  readonly random: Random;
  readonly tally: Tally;
}

/** One session that only looks, at the end. */
export async function lookAgain(scene: Scene, box: Box): Promise<void> {
  for (let done = false; !done; ) {
    const session = new Session(scene, box, scene.servers.of(box.model)[0]!, 'look');
    await session.run();
    done = session.looked;
    if (!done) await sleep(500);
  }
}

/** Sessions until `stop` says so. */
export async function runSessions(scene: Scene, box: Box, stop: () => boolean): Promise<void> {
  const { random, servers, tally } = scene;
  while (!stop()) {
    const server = random.pick(servers.of(box.model));
    try {
      await new Session(scene, box, server).run();
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      const silent = error instanceof Silence;
      tally.count(silent ? `SILENCE of ${server.name}` : 'connections lost');
      if (silent) process.stderr.write(`SILENCE: ${server.name}, ${box.user}\n`);
    }
    // Somebody else must get in, too.
    await sleep(random.between(50, 1200));
  }
}

/** Of what is not known, there is none: the message-number is that of the session. */
type NumberedSighting = Sighting & { readonly n: number };

class Session {
  #client: Pop3 | undefined;
  #course: Course;
  /** Whether it came as far as to see all messages. */
  looked = false;

  constructor(
    private readonly scene: Scene,
    private readonly box: Box,
    private readonly server: Server,
    course: Course = scene.random.weighted(COURSES),
  ) {
    this.#course = course;
    if (!server.mayBeKilled && this.#course.startsWith('kill')) this.#course = 'delete some';
  }

  async run(): Promise<void> {
    const { server, box, scene } = this;
    const client = await Pop3.connect(server.port);
    this.#client = client;
    try {
      const { mark } = box.ledger;
      client.send(`USER ${box.user}`, `PASS ${PASSWORD}`);
      await client.line();
      const reply = await client.line();
      if (!reply.startsWith('+OK')) {
        // What comes after the code and names the holder differs each time.
        scene.tally.count(`login: ${reply.split(/[(:]| since /)[0]}`);
        return;
      }
      scene.tally.count(`sessions by ${server.name}`);
      const sightings = await this.#readAll();
      if (sightings === undefined) return;
      box.ledger.look(sightings, mark);
      this.looked = true;
      scene.tally.count(`course: ${this.#course}`);
      if (this.#course === 'look') return;
      await this.#finish(sightings);
    } finally {
      client.close();
    }
  }

  /** Every message, checked against LIST. Undefined when the server ends the session, as it may. */
  async #readAll(): Promise<NumberedSighting[] | undefined> {
    const client = this.#client!;
    client.send('LIST', 'UIDL');
    const [list, uidl] = [await client.content(), await client.content()];
    if (list === undefined || uidl === undefined) return this.#cut();
    const [octets, uniqueIds] = [list, uidl].map(text =>
      text
        .split('\r\n')
        .slice(0, -1)
        .map(line => line.split(' ')[1]!),
    );
    const sightings: NumberedSighting[] = [];
    const slowly = this.#course === 'read slowly';
    for (let n = 0; n < octets!.length; n += 20) {
      const window = octets!.slice(n, n + 20);
      client.send(...window.map((_, i) => `RETR ${n + i + 1}`));
      if (slowly && n === 0) await this.#stall();
      for (const [i, size] of window.entries()) {
        const content = await client.content();
        if (content === undefined) return this.#cut();
        if (content.length !== Number(size)) this.#problem(`LIST says ${size}, RETR sends ${content.length}`);
        const sighting = this.#identify(content, uniqueIds![n + i]!);
        if (sighting) sightings.push({ ...sighting, n: n + i + 1 });
      }
    }
    return sightings;
  }

  /** Reads nothing for longer than the locks are held: the rest comes without them. */
  async #stall(): Promise<void> {
    this.#client!.socket.pause();
    await sleep(PAST_YIELD);
    this.#client!.socket.resume();
  }

  #cut(): undefined {
    this.scene.tally.count('sessions ended by -ERR in TRANSACTION');
    return undefined;
  }

  #identify(content: string, uniqueId: string): Sighting | undefined {
    try {
      return { ...identify(content.replaceAll('\r\n', '\n')), uniqueId };
    } catch (error) {
      this.#problem(`altered: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** From here on, the ledger has seen all messages. */
  async #finish(sightings: readonly NumberedSighting[]): Promise<void> {
    const client = this.#client!;
    const { random } = this.scene;
    const course = this.#course;
    // What is deleted to the end is cut off, and never half done.
    const some = ['delete some', 'RSET', 'kill half done'].includes(course);
    const marked = new Map(
      sightings
        .map(({ n, id }): [number, string] => [n, id])
        .filter(([, id]) => this.box.ledger.readerOf(id) === 'pop3' && !(some && random.chance(0.3))),
    );
    client.send(...[...marked.keys()].map(n => `DELE ${n}`));
    for (let replies = marked.size; replies > 0; replies--) {
      // Broken by another program since the locks were yielded.
      if (!(await client.line()).startsWith('+OK')) return this.#cut();
    }
    switch (course) {
      case 'vanish without QUIT':
        return client.close();
      case 'kill before QUIT':
        return void this.#signal('SIGKILL');
      case 'RSET':
        await client.ask('RSET');
        marked.clear();
        break;
      case 'idle past the yield':
        await sleep(PAST_YIELD);
        break;
      case 'stop, go on, delete':
        await this.#pause();
        break;
    }
    await this.#quit(new Set(marked.values()));
  }

  async #quit(ids: ReadonlySet<string>): Promise<void> {
    const { ledger } = this.box;
    const client = this.#client!;
    const { random, tally } = this.scene;
    const holder = this.#holder();
    client.send('QUIT');
    try {
      if (this.#course === 'kill in UPDATE') {
        await sleep(random.between(0, 12));
        if (holder !== undefined) signal(holder, 'SIGKILL');
      } else if (this.#course === 'kill half done') {
        await this.#killHalfDone(holder);
      } else if (this.#course === 'stop in UPDATE') {
        await sleep(random.between(0, 8));
        await this.#pause(holder);
      }
      const reply = await client.line();
      if (reply.startsWith('+OK')) return ledger.removed(ids);
      tally.count(`QUIT: ${reply}`);
      ledger.maybeRemoved(ids);
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      tally.count('QUIT without an answer');
      ledger.maybeRemoved(ids);
    }
  }

  /** Between the first octet that is moved and the cut, which the dotlock tells. */
  async #killHalfDone(holder: number | undefined): Promise<void> {
    const { random, tally, servers } = this.scene;
    const isHalfDone = () => servers.dotlockOf(this.box.user).startsWith('mbox-pop3d UPDATE');
    const deadline = performance.now() + HALF_DONE_WITHIN;
    // Nothing else must come between: it is a matter of milliseconds.
    while (!isHalfDone()) {
      if (performance.now() > deadline) return;
      await new Promise(setImmediate);
    }
    const until = performance.now() + random.between(0, 3);
    while (performance.now() < until);
    if (holder === undefined) return;
    signal(holder, 'SIGKILL');
    // It is not over at once; what it says then is what it will say.
    while (servers.isAlive(holder)) await new Promise(setImmediate);
    tally.count(isHalfDone() ? HALF_DONE : 'killed when UPDATE was over');
  }

  #holder(): number | undefined {
    return this.scene.servers.holderOf(this.box.user, this.box.model);
  }

  #signal(name: NodeJS.Signals): void {
    const holder = this.#holder();
    if (holder !== undefined) signal(holder, name);
    this.scene.tally.count(`${name} before QUIT`);
  }

  /** SIGSTOP, and SIGCONT some time later; now and then later than an agent takes a lock for stale. */
  async #pause(holder = this.#holder()): Promise<void> {
    if (holder === undefined) return;
    const { random, tally } = this.scene;
    signal(holder, 'SIGSTOP');
    tally.count('SIGSTOP');
    await sleep(random.between(20, 3000));
    signal(holder, 'SIGCONT');
  }

  #problem(text: string): void {
    this.box.ledger.problem(`${this.server.name}: ${text}`);
  }
}
