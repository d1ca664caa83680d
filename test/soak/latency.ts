/**
 * How long a delivery waits for a session: each agent on a mailbox of its own, while a client has just logged in and
 * says nothing, then while one is in the middle of a RETR and reads nothing. It gets in when the session has yielded
 * the mailbox locks, at the agent's next try, with the session still open.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, asMbox } from '../agents/agent.js';
import { type AgentHost, PASSWORD } from '../agents/agent-host.js';
import { Pop3 } from './pop3.js';

/** More than the socket buffers of both sides take, octets. */
const LARGE = 24_000_000;

export interface Latency {
  readonly agent: string;
  /** Seconds from the login to the end of the delivery. */
  readonly idle: number;
  readonly inRetr: number;
}

/** The mailbox of the n-th agent. */
export const latencyUser = (n: number) => `waits${n}`;

export function measureLatencies(
  host: AgentHost,
  port: number,
  agents: readonly Agent[],
): Promise<Latency[]> {
  return Promise.all(
    agents.map(async (agent, n) => {
      const user = latencyUser(n);
      const large = `Subject: large\nMessage-ID: <large@example.com>\n\n${`${'x'.repeat(99)}\n`.repeat(LARGE / 100)}`;
      appendFileSync(host.mailbox(user), asMbox(large), 'latin1');
      const idle = await waitOf(agent, user, port, `idle.${n}`, 'idle');
      const inRetr = await waitOf(agent, user, port, `retr.${n}`, 'RETR');
      return { agent: agent.name, idle, inRetr };
    }),
  );
}

async function waitOf(
  agent: Agent,
  user: string,
  port: number,
  id: string,
  how: 'idle' | 'RETR',
): Promise<number> {
  const client = await logIn(user, port);
  try {
    const start = performance.now();
    if (how === 'RETR') {
      client.send('RETR 1');
      await client.line();
      client.socket.pause();
    }
    await agent.deliver(user, { id, text: `Subject: ${id}\nMessage-ID: <${id}@soak.example>\n\nHello.\n` });
    const waited = (performance.now() - start) / 1000;
    if (client.over) throw new Error('latency: the session ended before the delivery');
    return waited;
  } finally {
    client.close();
  }
}

/** Again, if the session before does not know yet that its client is gone. */
async function logIn(user: string, port: number): Promise<Pop3> {
  for (;;) {
    const client = await Pop3.connect(port);
    client.send(`USER ${user}`, `PASS ${PASSWORD}`);
    await client.line();
    const reply = await client.line();
    if (reply.startsWith('+OK')) return client;
    client.close();
    if (!reply.includes('[IN-USE]')) throw new Error(`latency: the server said: ${reply}`);
    await sleep(100);
  }
}
