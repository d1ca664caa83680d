/** A supervisor's end and a worker's, with real limits, a real throttle, and what the test makes of passwords. */
import type { Authenticator } from '../../lib/pop3/ports.js';
import { ConnectionLimits, KeyedLimit } from '../../lib/server/limits.js';
import { LocalLogins } from '../../lib/server/logins.js';
import { Throttle } from '../../lib/server/throttle.js';
import { WorkerAuthority } from '../../lib/server/worker-authority.js';
import { Channel } from '../../lib/server/worker-channel.js';
import { duplexPair, type PairEnd } from './duplex-pair.js';

export interface WorkerWorld {
  readonly worker: Channel;
  /** The worker's end of the pipe, and the supervisor's. */
  readonly ends: readonly [PairEnd, PairEnd];
  readonly authority: WorkerAuthority;
  readonly admission: ConnectionLimits;
  readonly users: KeyedLimit;
  readonly throttle: Throttle;
  /** Why the worker is not listened to any more. */
  readonly closed: string[];
  readonly heard: string[];
  /** What the authenticator was asked. */
  readonly asked: string[];
}

/**
 * Where at most two connections may be open, one of each user, and one attempt of each address may wait.
 * @param wait of an attempt that has to, milliseconds
 */
export function workerWorld(authenticator: Partial<Authenticator> = {}, wait = 1000): WorkerWorld {
  const ends = duplexPair();
  const [closed, heard, asked]: [string[], string[], string[]] = [[], [], []];
  const admission = new ConnectionLimits(2, 2);
  const checker = {
    checkPassword: async (user, password, peer) => {
      asked.push(`${Buffer.from(user)} ${Buffer.from(password)} ${peer.address} ${peer.port} ${peer.via}`);
      return { account: { user: 'alice', uid: 1000 } };
    },
    ...authenticator,
  } as Authenticator;
  const users = new KeyedLimit(1);
  const throttle = new Throttle({ most: wait, mostWaiting: 1 });
  const logins = new LocalLogins({ users, throttle, authenticator: checker });
  const authority = new WorkerAuthority(
    ends[1],
    { admission, logins, authenticator: checker },
    {
      left: () => heard.push('left'),
      heard: name => heard.push(name),
      closed: (reason, nonsense) => closed.push(nonsense ? reason : `gone: ${reason}`),
    },
  );
  const handlers = { answer: () => ({ head: {} }), hear: () => {}, closed: () => {} };
  const worker = new Channel(ends[0], handlers, 64 * 1024);
  return { worker, ends, authority, admission, users, throttle, closed, heard, asked };
}
