/**
 * Workers that somebody has taken over: real processes of a real server, on whose channel the test says what it likes.
 * A worker is one from its start on, by a module that Node.js loads before the program.
 */
import { chownSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Channel } from '../../lib/server/worker-channel.js';
import type { RunOptions } from './program.js';
import { SERVED_BY, type ServePlaces } from './serving.js';

/** Whoever makes the file first is taken over: between the pipe and the test it only passes on. */
const MODULE = `
import { writeFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
const isWorker = process.argv[1]?.endsWith('/worker.js');
const isFirst = () => {
  try {
    writeFileSync(process.env.TAKEN_OVER + '.taken', '', { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    return false;
  }
};
if (isWorker && isFirst()) {
  const pipe = new Socket({ fd: 3, readable: true, writable: true });
  pipe.pipe(connect(process.env.TAKEN_OVER)).pipe(pipe);
  await new Promise(() => {});
}
`;

export interface TakenOver {
  /** To run a server with. */
  readonly options: RunOptions;
  /** Remove it, and the next worker to start is taken over. */
  readonly taken: string;
  /** The channel of the next worker that is taken over, which has said that it is ready. */
  next(): Promise<Channel>;
}

export async function takenOver({ root }: ServePlaces): Promise<TakenOver> {
  const [module, path] = [join(root, 'taken-over.mjs'), join(root, 'taken-over')];
  writeFileSync(module, MODULE);
  const waiting: ((socket: Socket) => void)[] = [];
  const came: Socket[] = [];
  const server = createServer(socket => {
    const first = waiting.shift();
    if (first) first(socket);
    else came.push(socket);
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  onTestFinished(() => {
    server.close();
  });
  for (const file of [module, path]) chownSync(file, SERVED_BY.uid, SERVED_BY.gid);
  return {
    options: { node: ['--import', module], env: { TAKEN_OVER: path } },
    taken: `${path}.taken`,
    next: async () => {
      const socket = came.shift() ?? (await new Promise<Socket>(resolve => waiting.push(resolve)));
      const handlers = { answer: () => ({ head: {} }), hear: () => {}, closed: () => {} };
      const channel = new Channel(socket, handlers, 64 * 1024 * 1024);
      channel.tell('ready');
      return channel;
    },
  };
}
