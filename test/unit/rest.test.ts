// When an idle session lets go of its descriptors, and that it has them again before anything uses them.
import { beforeEach, expect, test } from 'vitest';
import { Blocks } from '../../lib/maildrop/blocks.js';
import { Rest } from '../../lib/maildrop/rest.js';

let events: string[];
let scarce: boolean;
let closed: () => void;
let granted: () => void;
let rest: Rest;

beforeEach(() => {
  events = [];
  scarce = true;
  const closing = new Promise<void>(resolve => {
    closed = resolve;
  });
  const turn = new Promise<void>(resolve => {
    granted = resolve;
  });
  const descriptors = {
    get scarce() {
      return scarce;
    },
    rest: () => events.push('rest'),
    wake: async () => {
      events.push('wake');
      await turn;
    },
  };
  rest = new Rest(descriptors, new Blocks(), async () => {
    events.push('close');
    await closing;
  });
});

const settled = () => new Promise(setImmediate);

/** As the time passes of a session that is idle. */
function idle(): void {
  rest.tick();
  rest.tick();
}

test('who is idle lets go once, and what comes then waits until all is closed and its turn has come', async () => {
  idle();
  idle();
  expect(events).toEqual(['close']);
  const used = [1, 2].map(n => rest.use(async () => events.push(`use ${n}`)));
  await settled();
  expect(events).toEqual(['close']);
  closed();
  await settled();
  expect(events).toEqual(['close', 'rest', 'wake']);
  granted();
  await Promise.all(used);
  expect(events).toEqual(['close', 'rest', 'wake', 'use 1', 'use 2']);
  idle();
  expect(events.at(-1)).toBe('close');
});

test('nothing is closed while it is used, nor just after, nor where there is enough', async () => {
  let done = () => {};
  const used = rest.use(() => new Promise<void>(resolve => (done = resolve)));
  idle();
  idle();
  done();
  await used;
  await rest.use(async () => {});
  rest.tick();
  scarce = false;
  idle();
  expect(events).toEqual([]);
  scarce = true;
  rest.tick();
  expect(events).toEqual(['close']);
});

test('what fails is the failure of its own use only', async () => {
  await expect(rest.use(() => Promise.reject(new Error('EIO')))).rejects.toThrow('EIO');
  expect(await rest.use(async () => 'octets')).toBe('octets');
  idle();
  expect(events).toEqual(['close']);
});

test('a session that ends waits until all is closed, and does not begin again', async () => {
  idle();
  let over = false;
  const end = rest.end()?.then(() => {
    over = true;
  });
  await settled();
  expect(over).toBe(false);
  closed();
  await end;
  expect(over).toBe(true);
  rest.begin();
  expect(events).toEqual(['close', 'rest']);
});
