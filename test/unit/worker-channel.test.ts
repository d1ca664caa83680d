// What a worker and its supervisor say to each other, and what becomes of a worker that says something else.
import { expect, test, vi } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import type { Authenticator } from '../../lib/pop3/ports.js';
import { ConnectionLimits, KeyedLimit } from '../../lib/server/limits.js';
import { Throttle } from '../../lib/server/throttle.js';
import { WorkerAuthority } from '../../lib/server/worker-authority.js';
import { Channel } from '../../lib/server/worker-channel.js';
import { BadMessage, encodeMessage, MessageReader } from '../../lib/server/worker-frames.js';
import {
  RemoteAdmission,
  RemoteAuthenticator,
  RemoteThrottle,
  RemoteUsers,
} from '../../lib/server/worker-remote.js';
import { duplexPair } from '../support/duplex-pair.js';

const PEER = { address: '192.0.2.1', port: 1234 };
const octets = (text: string) => Buffer.from(text);

test('messages come out as they went in, however the stream is cut', () => {
  const sent = [
    { head: { call: 'a', number: 1 }, octets: octets('secret') },
    { head: { tell: 'b' }, octets: octets('') },
    { head: { tell: 'c', text: 'ü\n' }, octets: Buffer.alloc(500, 7) },
  ];
  const stream = Buffer.concat(sent.map(({ head, octets: more }) => encodeMessage(head, more)));
  for (const size of [1, 2, 7, 8, 9, 4096, stream.length]) {
    const reader = new MessageReader(10_000);
    const got: unknown[] = [];
    for (let at = 0; at < stream.length; at += size) {
      const chunk = Buffer.from(stream.subarray(at, at + size));
      reader.read(chunk, ({ head, octets: more }) => got.push({ head, octets: Buffer.from(more) }));
    }
    expect(got).toEqual(sent);
  }
});

const frame = (text: string, headLength = text.length, length = text.length) => {
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32BE(length, 0);
  lengths.writeUInt32BE(headLength, 4);
  return Buffer.concat([lengths, octets(text)]);
};

test.each([
  ['too long', frame('', 0, 1001)],
  ['a head longer than the message', frame('{}', 3)],
  ['no JSON', frame('{')],
  ['a list', frame('[]')],
  ['nothing', frame('null')],
])('no message: %s', (_, bad) => {
  expect(() => new MessageReader(1000).read(bad, () => {})).toThrow(BadMessage);
});

interface World {
  readonly worker: Channel;
  readonly authority: WorkerAuthority;
  readonly admission: ConnectionLimits;
  readonly users: KeyedLimit;
  readonly closed: string[];
  readonly heard: string[];
  /** What the authenticator was asked. */
  readonly asked: string[];
}

function world(authenticator: Partial<Authenticator> = {}): World {
  const [ours, theirs] = duplexPair();
  const [closed, heard, asked]: string[][] = [[], [], []];
  const admission = new ConnectionLimits(2, 2);
  const users = new KeyedLimit(1);
  const shared = {
    admission,
    users,
    throttle: new Throttle({ most: 1000, mostWaiting: 1 }),
    authenticator: {
      checkPassword: async (user, password, peer) => {
        asked!.push(`${Buffer.from(user)} ${Buffer.from(password)} ${peer.address} ${peer.port} ${peer.via}`);
        return { account: { user: 'alice', uid: 1000 } };
      },
      ...authenticator,
    } as Authenticator,
  };
  const authority = new WorkerAuthority(theirs, shared, {
    left: () => heard!.push('left'),
    heard: name => heard!.push(name),
    closed: reason => closed!.push(reason),
  });
  const handlers = {
    answer: () => ({ head: {} }),
    hear: () => {},
    closed: () => {},
  };
  const worker = new Channel(ours, handlers, 64 * 1024);
  return { worker, authority, admission, users, closed: closed!, heard: heard!, asked: asked! };
}

test('connections: counted in and out, and all given back with the worker', async () => {
  const { worker, authority, admission } = world();
  const remote = new RemoteAdmission(worker, 100);
  const place = await remote.enter('192.0.2.1');
  if ('refused' in place) throw new Error(place.refused);
  const behind = await remote.enter(undefined);
  if ('refused' in behind) throw new Error(behind.refused);
  expect(await behind.countFor('192.0.2.1')).toBeUndefined();
  expect(await remote.enter('192.0.2.9')).toEqual({ refused: 'too many connections' });
  expect([remote.total, admission.total, authority.connections]).toEqual([2, 2, 2]);
  // The worker's own share is refused without asking.
  expect(await new RemoteAdmission(worker, 0).enter('192.0.2.9')).toEqual({
    refused: 'too many connections',
  });
  place.leave();
  expect(remote.total).toBe(1);
  await vi.waitFor(() => expect(admission.total).toBe(1), { timeout: 20_000 });
  authority.release();
  expect(admission.total).toBe(0);
  const users = new RemoteUsers(worker);
  const leave = await users.enter('alice');
  expect(leave).toBeTypeOf('function');
  expect(await users.enter('alice')).toBeUndefined();
  authority.release();
  expect(await users.enter('alice')).toBeTypeOf('function');
});

test('attempts: one throttle for all', async () => {
  const { worker } = world();
  const throttle = new RemoteThrottle(worker);
  for (let i = 0; i < 3; i++) {
    const attempt = await throttle.begin('192.0.2.1', octets('bob'));
    expect(attempt?.wait).toBe(0);
    attempt!.failed();
    attempt!.abandoned(); // It is over; this says nothing.
  }
  expect((await throttle.begin('192.0.2.1', octets('bob')))?.wait).toBe(1000);
  expect(await throttle.begin('192.0.2.1', octets('bob'))).toBeUndefined();
});

test('a password that comes with an attempt is checked at once, but not before a wait', async () => {
  const { worker, asked } = world();
  const throttle = new RemoteThrottle(worker);
  const login = { password: octets('pass'), peer: PEER };
  const attempt = await throttle.begin(PEER.address, octets('bob'), login);
  expect(attempt?.found?.verdict()).toEqual({ account: { user: 'alice', uid: 1000 } });
  attempt!.abandoned();
  expect(asked).toEqual(['bob pass 192.0.2.1 1234 undefined']);
  const down = world({ checkPassword: async () => Promise.reject(new Unavailable('SYS/TEMP', 'down')) });
  const failed = await new RemoteThrottle(down.worker).begin(PEER.address, octets('bob'), login);
  expect(() => failed?.found?.verdict()).toThrow(
    expect.objectContaining({ code: 'SYS/TEMP', message: 'down' }),
  );
});

test('whoever checks a password ends the attempt, whatever the worker says of it', async () => {
  let right = false;
  let checks = 0;
  const { worker, closed } = world({
    checkPassword: async () => {
      checks++;
      return right ? { account: { user: 'bob' } } : { refused: 'wrong password' };
    },
  });
  const throttle = new RemoteThrottle(worker);
  const begin = () => throttle.begin(PEER.address, octets('bob'), { password: octets('p'), peer: PEER });
  for (let i = 0; i < 3; i++) {
    const attempt = await begin();
    expect(attempt?.found?.verdict()).toEqual({ refused: 'wrong password' });
    attempt!.succeeded();
    attempt!.abandoned();
  }
  const waits = await begin();
  expect([waits?.wait, waits?.found, checks]).toEqual([1000, undefined, 3]);
  waits!.abandoned();
  right = true;
  // Without a password to check it is for the worker to say.
  (await throttle.begin(PEER.address, octets('bob')))!.succeeded();
  const known = await begin();
  expect(known?.found?.verdict()).toEqual({ account: { user: 'bob' } });
  known!.failed();
  expect([(await begin())?.wait, closed]).toEqual([0, []]);
});

test('the user of a right password is counted in with the answer, and out again by a client that has left', async () => {
  const { worker, authority } = world();
  const throttle = new RemoteThrottle(worker);
  const users = new RemoteUsers(worker);
  const begin = () => throttle.begin(PEER.address, octets('bob'), { password: octets('p'), peer: PEER });
  const gone = await begin();
  gone!.abandoned();
  const first = await begin();
  const leave = first!.found!.enter();
  expect(leave).toBeTypeOf('function');
  first!.abandoned(); // It has entered: this says nothing.
  expect((await begin())!.found!.enter()).toBeUndefined();
  expect(await users.enter('alice')).toBeUndefined();
  leave!();
  const last = await begin();
  expect(last!.found!.enter()).toBeTypeOf('function');
  authority.release();
  expect(await users.enter('alice')).toBeTypeOf('function');
});

test('a worker that is gone before its password was checked holds nothing afterwards', async () => {
  let checked = (_: { account: { user: string } }) => {};
  let asked = () => {};
  const isAsked = new Promise<void>(resolve => {
    asked = resolve;
  });
  const { worker, authority, users } = world({
    checkPassword: () => {
      asked();
      return new Promise(resolve => {
        checked = resolve;
      });
    },
  });
  const login = { password: octets('p'), peer: PEER };
  const begun = new RemoteThrottle(worker).begin(PEER.address, octets('alice'), login);
  await isAsked;
  authority.channel.close('killed');
  authority.release();
  checked({ account: { user: 'alice' } });
  await expect(begun).rejects.toMatchObject({ code: 'SYS/TEMP' });
  await new Promise(resolve => setImmediate(resolve));
  expect(users.enter('alice')).toBeTypeOf('function');
});

test('passwords: any octets arrive, verdicts and errors come back, and nothing of them stays', async () => {
  const { worker, asked } = world();
  const remote = new RemoteAuthenticator(worker);
  const verdict = await remote.checkPassword(octets('ali\0ce'), octets('pass\xffword'), {
    ...PEER,
    via: '192.0.2.2',
  });
  expect(verdict).toEqual({ account: { user: 'alice', uid: 1000 } });
  expect(asked).toEqual(['ali\0ce pass\xffword 192.0.2.1 1234 192.0.2.2']);
  let held: Uint8Array = octets('');
  const down = world({
    checkPassword: async (_user, password) => {
      held = password;
      throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause: new Error('down') });
    },
  });
  const failed = new RemoteAuthenticator(down.worker).checkPassword(octets('a'), octets('b'), PEER);
  await expect(failed).rejects.toMatchObject({
    name: 'Unavailable',
    code: 'SYS/TEMP',
    message: 'Cannot check passwords now',
    fatal: false,
    cause: { message: 'down' },
  });
  expect(Buffer.from(held)).toEqual(Buffer.alloc(1));
});

test('proofs and challenges', async () => {
  const proofs: unknown[] = [];
  const { worker } = world({
    checkProof: async proof => {
      proofs.push(JSON.parse(JSON.stringify(proof)));
      return { account: { user: 'alice' }, serverSignature: octets('signed') };
    },
    provable: async () => ({ all: new Set(['SCRAM-SHA-256']), some: new Set(['APOP', 'SCRAM-SHA-256']) }),
    scramChallenge: async (method, user) => ({
      salt: octets(`${method} ${Buffer.from(user)}`),
      iterations: 4096,
    }),
  });
  const remote = new RemoteAuthenticator(worker);
  const given = [
    { method: 'APOP', user: octets('alice'), challenge: '<1@host>', digest: '00ff' },
    {
      method: 'SCRAM-SHA-256',
      user: octets('alice'),
      authMessage: octets('n=alice'),
      clientProof: octets('proof'),
    },
  ] as const;
  for (const proof of given) {
    const verdict = await remote.checkProof(proof, PEER);
    expect(verdict).toEqual({ account: { user: 'alice' }, serverSignature: octets('signed') });
  }
  expect(proofs).toEqual(JSON.parse(JSON.stringify(given)));
  expect(await remote.provable()).toEqual({
    all: new Set(['SCRAM-SHA-256']),
    some: new Set(['APOP', 'SCRAM-SHA-256']),
  });
  expect(await remote.scramChallenge('SCRAM-SHA-1', octets('bob'), PEER)).toEqual({
    salt: octets('SCRAM-SHA-1 bob'),
    iterations: 4096,
  });
});

test.each([
  ['an unknown call', 'shell', {}],
  ['a place it does not have', 'count', { place: 7, address: '192.0.2.1' }],
  ['an address that is no text', 'enter', { address: 7 }],
  ['a length beyond the end', 'password', { ...PEER, length: 7 }],
  ['a method that is none', 'scram', { ...PEER, method: 'PLAIN' }],
])('a worker that talks nonsense is not listened to any more: %s', async (_, call, head) => {
  const { worker, closed, asked } = world();
  await expect(worker.call(call, head)).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
  expect(closed).toEqual([expect.stringMatching(/^it made no sense: /)]);
  expect(asked).toEqual([]);
});

test('when the supervisor is gone, nobody new is served and no call hangs', async () => {
  const { worker, authority } = world({ checkPassword: () => new Promise(() => {}) });
  const pending = new RemoteAuthenticator(worker).checkPassword(octets('a'), octets('b'), PEER);
  authority.channel.close('over');
  await expect(pending).rejects.toBeInstanceOf(Unavailable);
  expect(await new RemoteAdmission(worker, 100).enter('192.0.2.1')).toEqual({
    refused: 'the server is being stopped',
  });
  await expect(new RemoteUsers(worker).enter('alice')).rejects.toMatchObject({ code: 'SYS/TEMP' });
});
