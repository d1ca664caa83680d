// Places for what a host has few of: how many at a time, how long anybody waits, when a place is free.
import { expect, test } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import { Turns } from '../../lib/host/turns.js';

const PATIENCE = { timeout: 20_000, interval: 5 };

/** A task that ends when told to. */
function task() {
  let end: (error?: Error) => void = () => {};
  let signal: AbortSignal | undefined;
  const done = new Promise<string>((resolve, reject) => {
    end = error => (error === undefined ? resolve('done') : reject(error));
  });
  const run = (given: AbortSignal) => {
    signal = given;
    return done;
  };
  return { run, end, signal: () => signal };
}

test('so many at a time, the others in order', async () => {
  const turns = new Turns(2, 60_000);
  const tasks = Array.from({ length: 4 }, task);
  const results = tasks.map(({ run }) => turns.run(run));
  expect(tasks.map(({ signal }) => signal() !== undefined)).toEqual([true, true, false, false]);
  tasks[1]!.end();
  expect(await results[1]).toBe('done');
  await expect
    .poll(() => tasks.map(({ signal }) => signal() !== undefined), PATIENCE)
    .toEqual([true, true, true, false]);
  tasks[0]!.end(new Error('broken'));
  await expect(results[0]).rejects.toThrow('broken');
  await expect.poll(() => tasks[3]!.signal(), PATIENCE).toBeDefined();
  for (const { end } of tasks) end();
  expect(await Promise.all(results.slice(2))).toEqual(['done', 'done']);
});

test('time is up: the caller is told, the task is told, the place is kept until it ends', async () => {
  const turns = new Turns(1, 30);
  const hangs = task();
  const waits = task();
  const outcomes = await Promise.allSettled([turns.run(hangs.run), turns.run(waits.run)]);
  expect(outcomes).toMatchObject([
    { reason: { code: 'SYS/TEMP', cause: { message: 'no answer in time' } } },
    { reason: { code: 'SYS/TEMP', cause: { message: 'no turn in time' } } },
  ]);
  expect(hangs.signal()?.aborted).toBe(true);
  expect(waits.signal()).toBeUndefined();
  await expect(turns.run(waits.run)).rejects.toMatchObject({ cause: { message: 'no turn in time' } });
  hangs.end(new Error('killed'));
  await expect.poll(() => turns.run(async () => 'next').catch(() => 'not yet'), PATIENCE).toBe('next');
});

test('a line of a hundred is not joined', async () => {
  const turns = new Turns(1, 60_000);
  const tasks = Array.from({ length: 101 }, task);
  const results = tasks.map(({ run }) => turns.run(run));
  const refused = await turns.run(task().run).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(Unavailable);
  for (const { end } of tasks) end();
  expect(await Promise.all(results)).toHaveLength(101);
});
