// What a worker and its supervisor say to each other, and what becomes of it when one of them is gone.
import { expect, test, vi } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import type { Credentials } from '../../lib/pop3/authorization.js';
import type { Place } from '../../lib/server/limits.js';
import type { LetIn, LoginAttempt, Outcome } from '../../lib/server/logins.js';
import type { Channel } from '../../lib/server/worker-channel.js';
import { BadMessage, encodeMessage, MessageReader } from '../../lib/server/worker-frames.js';
import { RemoteAdmission, RemoteChallenger, remoteLogins } from '../../lib/server/worker-remote.js';
import { workerWorld as world } from '../support/worker-world.js';

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

test('of a message that came in pieces nothing stays but what its receiver has, and wipes', () => {
  const stream = encodeMessage({ call: 'a' }, octets('secret'));
  for (let at = 1; at < stream.length; at++) {
    const reader = new MessageReader(1000);
    const chunks = [stream.subarray(0, at), stream.subarray(at)].map(part => Buffer.from(part));
    const got: string[] = [];
    for (const chunk of chunks) reader.read(chunk, message => got.push(`${message.octets}`));
    expect([got, ...chunks]).toEqual([['secret'], Buffer.alloc(at), Buffer.alloc(stream.length - at)]);
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

async function placeOf(worker: Channel, address: string | undefined = PEER.address): Promise<Place> {
  const place = await new RemoteAdmission(worker, 100).enter(address);
  if ('refused' in place) throw new Error(place.refused);
  return place;
}

const bob = (password = 'pass'): Credentials => ({
  method: 'USER',
  user: octets('bob'),
  password: octets(password),
});

/** What comes of an attempt, without leaving it. */
async function checked(attempt: LoginAttempt | undefined, credentials = bob()): Promise<Outcome> {
  return attempt!.check(credentials);
}

/** An attempt to its end. */
async function attempted(place: Place, credentials = bob(), peer = PEER): Promise<Outcome> {
  const attempt = await remoteLogins.begin(peer, credentials, place);
  try {
    return await checked(attempt, credentials);
  } finally {
    attempt?.over();
  }
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
});

test('attempts: one throttle for all, and a wait is only told', async () => {
  const { worker, asked, throttle } = world({ checkPassword: async () => ({ refused: 'wrong password' }) });
  const place = await placeOf(worker);
  for (let i = 0; i < 3; i++) expect(await attempted(place)).toEqual({ refused: 'wrong password' });
  const attempt = await remoteLogins.begin(PEER, bob(), place);
  expect(attempt?.wait).toBe(1000);
  const other = await placeOf(worker);
  expect(await remoteLogins.begin(PEER, bob(), other)).toBeUndefined();
  attempt!.over();
  attempt!.over(); // It is over; this says nothing.
  other.leave();
  await vi.waitFor(() => expect(throttle.begin(PEER.address, octets('bob'))?.wait).toBe(1000));
  expect(asked).toEqual([]);
});

test('an attempt is checked at once where there is nothing to wait for', async () => {
  const { worker, asked } = world();
  const place = await placeOf(worker);
  const attempt = await remoteLogins.begin({ ...PEER, via: '192.0.2.2' }, bob('pass\xffword'), place);
  expect([attempt?.wait, asked]).toEqual([0, ['bob pass\xffword 192.0.2.1 1234 192.0.2.2']]);
  expect(await checked(attempt)).toMatchObject({ account: { user: 'alice', uid: 1000 } });
  expect(asked).toHaveLength(1);
});

test('after its wait an attempt is checked, and what comes of it counts', async () => {
  const verdicts = ['wrong', 'wrong', 'wrong', 'right'];
  const { worker } = world(
    {
      checkPassword: async () =>
        verdicts.shift() === 'right' ? { account: { user: 'bob' } } : { refused: 'wrong password' },
    },
    50,
  );
  const place = await placeOf(worker);
  for (let i = 0; i < 3; i++) await attempted(place);
  const attempt = await remoteLogins.begin(PEER, bob(), place);
  expect(attempt?.wait).toBe(50);
  await new Promise(resolve => setTimeout(resolve, 50));
  const outcome = await checked(attempt);
  expect(outcome).toMatchObject({ account: { user: 'bob' } });
  (outcome as LetIn).enter()!();
  attempt!.over();
  const next = await remoteLogins.begin(PEER, bob(), place);
  expect(next?.wait).toBe(0);
});

test('the user of a right password is counted in with the answer, and out again by a client that has left', async () => {
  const { worker, authority, users } = world();
  const place = await placeOf(worker);
  const begin = (at: Place) => remoteLogins.begin(PEER, bob(), at);
  const gone = await begin(place);
  gone!.over();
  const first = await begin(place);
  const outcome = (await checked(first)) as LetIn;
  const leave = outcome.enter();
  expect(leave).toBeTypeOf('function');
  expect(outcome.enter()).toBeUndefined();
  first!.over(); // It has entered: this says nothing.
  const other = await placeOf(worker);
  expect(((await attempted(other)) as LetIn).enter()).toBeUndefined();
  leave!();
  const last = (await checked(await begin(other))) as LetIn;
  expect(last.enter()).toBeTypeOf('function');
  expect(users.enter('alice')).toBeUndefined();
  authority.release();
  expect(users.enter('alice')).toBeTypeOf('function');
});

test('a worker that is gone before its password was checked holds nothing afterwards', async () => {
  let answer = (_: { account: { user: string } }) => {};
  let asked = () => {};
  const isAsked = new Promise<void>(resolve => {
    asked = resolve;
  });
  const { worker, authority, users } = world({
    checkPassword: () => {
      asked();
      return new Promise(resolve => {
        answer = resolve;
      });
    },
  });
  const begun = remoteLogins.begin(PEER, bob(), await placeOf(worker));
  await isAsked;
  authority.channel.close('killed');
  authority.release();
  answer({ account: { user: 'alice' } });
  await expect(begun).rejects.toMatchObject({ code: 'SYS/TEMP' });
  await new Promise(resolve => setImmediate(resolve));
  expect(users.enter('alice')).toBeTypeOf('function');
});

test('passwords: errors come back, tell nothing, count nothing, and nothing of them stays', async () => {
  let held: Uint8Array = octets('');
  const down = world({
    checkPassword: async (_user, password) => {
      held = password;
      throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause: new Error('down') });
    },
  });
  const place = await placeOf(down.worker);
  for (let i = 0; i < 5; i++) {
    await expect(attempted(place)).rejects.toMatchObject({
      name: 'Unavailable',
      code: 'SYS/TEMP',
      message: 'Cannot check passwords now',
      fatal: false,
      cause: { message: 'down' },
    });
  }
  expect(Buffer.from(held)).toEqual(Buffer.alloc(4));
  expect(down.throttle.begin(PEER.address, octets('bob'))?.wait).toBe(0);
});

test('proofs, refusals and challenges', async () => {
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
  const place = await placeOf(worker);
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
    const outcome = await attempted(place, proof);
    expect(outcome).toMatchObject({ account: { user: 'alice' }, serverSignature: octets('signed') });
  }
  expect(proofs).toEqual(JSON.parse(JSON.stringify(given)));
  const refused = { method: 'SCRAM-SHA-1', user: octets('alice'), refused: 'another identity' };
  expect(await attempted(place, refused)).toEqual({ refused: 'another identity' });
  const remote = new RemoteChallenger(worker);
  expect(await remote.provable()).toEqual({
    all: new Set(['SCRAM-SHA-256']),
    some: new Set(['APOP', 'SCRAM-SHA-256']),
  });
  expect(await remote.scramChallenge('SCRAM-SHA-1', octets('bob'), PEER)).toEqual({
    salt: octets('SCRAM-SHA-1 bob'),
    iterations: 4096,
  });
});

test('when the supervisor is gone, nobody new is served and no call hangs', async () => {
  const { worker, authority, asked } = world({ checkPassword: () => new Promise(() => {}) });
  const place = await placeOf(worker);
  const pending = attempted(place);
  authority.channel.close('over');
  await expect(pending).rejects.toBeInstanceOf(Unavailable);
  expect(await new RemoteAdmission(worker, 100).enter('192.0.2.1')).toEqual({
    refused: 'the server is being stopped',
  });
  expect(await place.countFor('192.0.2.1')).toBe('the server is being stopped');
  expect(asked).toEqual([]);
});
