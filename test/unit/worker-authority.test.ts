/**
 * What somebody can do who has taken over a worker, and says whatever they like to the supervisor: no more guesses than
 * clients have, nothing that is others', nothing that outlives the worker, and no harm to the supervisor.
 */
import { describe, expect, test, vi } from 'vitest';
import type { Head } from '../../lib/server/worker-frames.js';
import { encodeMessage } from '../../lib/server/worker-frames.js';
import { type WorkerWorld, workerWorld } from '../support/worker-world.js';

const FROM = '192.0.2.1';
const WRONG = { checkPassword: async () => ({ refused: 'wrong password' }) };

/** The head and octets of a guess. */
const guess = (user = 'bob', place = 0): [Head, Buffer] => [
  { place, port: 1, method: 'USER', length: user.length },
  Buffer.from(`${user}guess`),
];

const turn = () => new Promise(resolve => setImmediate(resolve));

async function enter({ worker }: WorkerWorld, address: string | undefined = FROM): Promise<void> {
  await worker.call('enter', { address });
}

/** Three wrong guesses: the next one has to wait. */
async function exhausted(world: WorkerWorld): Promise<void> {
  await enter(world);
  for (let i = 0; i < 3; i++) {
    expect((await world.worker.call('begin', ...guess())).head).toMatchObject({ refused: 'wrong password' });
  }
}

/** @param call that is not answered any more, if it was one */
async function cutOff(world: WorkerWorld, reason: string, call: Promise<unknown> | undefined): Promise<void> {
  if (call) await expect(call).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
  await vi.waitFor(() => expect(world.closed).toEqual([`it made no sense: ${reason}`]));
  expect(world.ends[1].destroyed).toBe(true);
}

describe('a guess is a login of its own, with its delay', () => {
  test('not one without an attempt, nor by calls that there were', async () => {
    for (const name of ['check', 'password', 'proof']) {
      const world = workerWorld(WRONG);
      await enter(world);
      const reason = name === 'check' ? 'a login that was not begun' : 'no such call';
      await cutOff(world, reason, world.worker.call(name, ...guess()));
    }
  });

  test('not before its time', async () => {
    const world = workerWorld();
    for (let i = 0; i < 3; i++) world.throttle.begin(FROM, Buffer.from('bob'))!.failed();
    await enter(world);
    expect((await world.worker.call('begin', ...guess())).head).toMatchObject({ wait: 1000 });
    await cutOff(world, 'a login before its time', world.worker.call('check', ...guess()));
    expect(world.asked).toEqual([]);
  });

  test('not of another user than was begun, nor twice', async () => {
    const world = workerWorld(WRONG, 50);
    await exhausted(world);
    await world.worker.call('begin', ...guess());
    await new Promise(resolve => setTimeout(resolve, 50));
    const twice = [world.worker.call('check', ...guess()), world.worker.call('check', ...guess('eve'))];
    await Promise.allSettled(twice);
    await cutOff(world, 'a login that was not begun', twice[1]);
    const other = workerWorld(WRONG, 50);
    await exhausted(other);
    await other.worker.call('begin', ...guess());
    await new Promise(resolve => setTimeout(resolve, 50));
    await cutOff(other, 'a login of another user', other.worker.call('check', ...guess('eve')));
  });

  test('not two at a time of one connection: waiting, being checked, or logged in', async () => {
    const reason = 'a second login at a time';
    const waiting = workerWorld(WRONG);
    await exhausted(waiting);
    await waiting.worker.call('begin', ...guess());
    await cutOff(waiting, reason, waiting.worker.call('begin', ...guess('eve')));
    const checking = workerWorld({ checkPassword: () => new Promise(() => {}) });
    await enter(checking);
    void checking.worker.call('begin', ...guess()).catch(() => {});
    await cutOff(checking, reason, checking.worker.call('begin', ...guess('eve')));
    const inside = workerWorld();
    await enter(inside);
    expect((await inside.worker.call('begin', ...guess())).head).toMatchObject({ entered: true });
    await cutOff(inside, reason, inside.worker.call('begin', ...guess()));
  });

  test('it counts, whatever the worker says of it, and also when the worker is gone', async () => {
    const world = workerWorld(WRONG);
    await exhausted(world);
    const failures = () => {
      const attempt = world.throttle.begin(FROM, Buffer.from('bob'))!;
      attempt.abandoned();
      return attempt.wait;
    };
    expect(failures()).toBe(1000);
    world.worker.tell('succeeded', { attempt: 0 });
    await vi.waitFor(() => expect(world.heard).toEqual(['succeeded']));
    expect(failures()).toBe(1000);
    world.worker.tell('abandoned', { place: 0 });
    await cutOff(world, 'a login that was not begun', undefined);
    world.authority.release();
    expect(failures()).toBe(1000);
  });

  test('as many checks at a time as connections: none that goes on after its connection', async () => {
    const world = workerWorld({ checkPassword: () => new Promise(() => {}) });
    await enter(world);
    void world.worker.call('begin', ...guess()).catch(() => {});
    world.worker.tell('leave', { place: 0 });
    await cutOff(world, 'a connection that is over in the middle of a check', undefined);
    expect(world.admission.total).toBe(1);
    world.authority.release();
    expect(world.admission.total).toBe(0);
  });

  test('an attempt that is forgotten told nothing, and waits for nobody', async () => {
    const world = workerWorld(WRONG);
    await exhausted(world);
    await world.worker.call('begin', ...guess());
    world.worker.tell('leave', { place: 0 });
    await enter(world);
    // Else this one, the second of its address, would be refused.
    expect((await world.worker.call('begin', ...guess('bob', 1))).head).toMatchObject({ wait: 1000 });
  });
});

describe('nobody else’s places', () => {
  test('a connection has one address, counted once, and given back', async () => {
    const world = workerWorld();
    await enter(world);
    await cutOff(
      world,
      'a second address of a connection',
      world.worker.call('count', { place: 0, address: FROM }),
    );
    world.authority.release();
    for (let i = 0; i < 2; i++) expect(world.admission.enter(FROM)).not.toHaveProperty('refused');
  });

  test('no place of a user who was not let in', async () => {
    const world = workerWorld(WRONG);
    await cutOff(world, 'no such call', world.worker.call('user', { user: 'alice' }));
    const other = workerWorld(WRONG);
    await exhausted(other);
    other.worker.tell('leave-user', { place: 0 });
    await cutOff(other, 'nobody to leave', undefined);
  });

  test.each([
    ['a login from nowhere', 'a login from no address', 'begin', undefined],
    ['a login of a connection there is not', 'no such place', 'begin', 'none'],
  ])('%s', async (_, reason, name, connection) => {
    const world = workerWorld();
    if (connection === undefined) await world.worker.call('enter', {});
    await cutOff(world, reason, world.worker.call(name, ...guess()));
    expect(world.asked).toEqual([]);
  });
});

test.each([
  ['an unknown call', 'no such call', 'shell', {}],
  ['a place it does not have', 'no such place', 'count', { place: 7, address: FROM }],
  ['an address that is no text', 'address is no text', 'enter', { address: 7 }],
  ['an address that is none', 'address is no address', 'enter', { address: 'eve\0' }],
  ['a long zone', 'address is no address', 'enter', { address: `fe80::1%${'x'.repeat(16)}` }],
  ['a front end that is none', 'via is no address', 'scram', { address: FROM, port: 1, via: '$(id)' }],
  ['a port that is none', 'port is none', 'scram', { address: FROM, port: 65_536, method: 'SCRAM-SHA-1' }],
  ['a method that is none', 'no such method', 'scram', { address: FROM, port: 1, method: 'PLAIN' }],
])('a worker that talks nonsense is not listened to any more: %s', async (_, reason, call, head) => {
  const world = workerWorld();
  await cutOff(world, reason, world.worker.call(call, head));
  expect(world.asked).toEqual([]);
});

test.each([
  ['a length beyond the end', { length: 7 }, 'length is beyond the end'],
  ['no method', { method: 'EXTERNAL', messageLength: 0 }, 'no such method'],
  ['a proof without a digest', { method: 'APOP', challenge: '<1@host>' }, 'digest is no text'],
])('a login that makes no sense: %s', async (_, head, reason) => {
  const world = workerWorld();
  await enter(world);
  const about = { place: 0, port: 1, method: 'USER', length: 0, ...head };
  await cutOff(world, reason, world.worker.call('begin', about));
});

test.each(['fe80::1%eth0.100', '::1', '2001:db8::1', 'unknown'])(
  'an address as the system gives it is one: %s',
  async address => {
    const world = workerWorld();
    await enter(world, address);
    expect([world.authority.connections, world.closed]).toEqual([1, []]);
  },
);

test('nothing is done any more that came with the nonsense', async () => {
  const world = workerWorld();
  await enter(world);
  const [about, octets] = guess();
  const calls = [{ call: 'shell' }, { call: 'enter', address: FROM }, { call: 'begin', ...about }];
  const frames = calls.map((head, number) => encodeMessage({ ...head, number }, octets));
  const told = encodeMessage({ tell: 'leave', place: 0 });
  world.ends[0].write(Buffer.concat([...frames, told]));
  await cutOff(world, 'no such call', undefined);
  expect([world.asked, world.heard, world.admission.total]).toEqual([[], [], 1]);
});

describe('no harm to the supervisor', () => {
  test('a call without a number', async () => {
    const world = workerWorld();
    world.ends[0].write(encodeMessage({ call: 'provable' }));
    await cutOff(world, 'number is no count', undefined);
  });

  test('who does not read the answers is not listened to, so that they are not kept', async () => {
    const world = workerWorld({ provable: async () => ({ all: new Set(['APOP']), some: new Set() }) });
    const [worker, supervisor] = world.ends;
    worker.removeAllListeners('data').pause();
    const call = encodeMessage({ call: 'provable', number: 1 });
    const many = Buffer.concat(Array<Buffer>(1000).fill(call));
    let most = 0;
    for (let i = 0; i < 50; i++) {
      if (!worker.writableNeedDrain) worker.write(many);
      await turn();
      most = Math.max(most, supervisor.writableLength);
    }
    expect([worker.writableNeedDrain, supervisor.isPaused()]).toEqual([true, true]);
    expect(most).toBeLessThan(200_000);
    // And goes on when they are read.
    worker.resume();
    await vi.waitFor(() => expect(supervisor.isPaused()).toBe(false));
  });
});
