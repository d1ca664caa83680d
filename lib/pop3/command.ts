/**
 * A command is a row of a table: keyword, argument parsers, handler. There is one table a state, so a
 * handler cannot run in the wrong state and never asks which one it is in. Tables are Maps: a keyword
 * comes from the network.
 */
import { BadRequest } from '../errors.js';
import { ArgumentReader, type Parser } from './arguments.js';
import type { Reply } from './reply.js';
import type { Request } from './request.js';

export interface Command<State> {
  /** Checks the arguments and runs. Throws `BadRequest` before anything was done. */
  run(state: State, request: Request): Reply | Promise<Reply>;
  /** Whether the command exists in this session; one that does not is unknown, like any other word. */
  available?(state: State): boolean;
}

export type Table<State> = ReadonlyMap<string, Command<State>>;

/** Makes a row: all parsers must succeed, and nothing may be left over, before `handler` runs. */
export function command<State, Args extends unknown[]>(
  parsers: readonly [...{ [K in keyof Args]: Parser<Args[K]> }],
  handler: (state: State, ...args: Args) => Reply | Promise<Reply>,
  available?: (state: State) => boolean,
): Command<State> {
  return {
    run(state, request) {
      const args = new ArgumentReader(request);
      const values = parsers.map((parse: Parser<unknown>) => parse(args)) as Args;
      if (!args.atEnd) throw new BadRequest('too many arguments');
      return handler(state, ...values);
    },
    ...(available && { available }),
  };
}

/**
 * Runs a request by a table.
 * RFC 1939 §3: a negative reply to an unrecognized command, and to one given in the wrong state.
 * @throws BadRequest when the table has no such command, or its arguments are wrong
 */
export function dispatch<State>(table: Table<State>, state: State, request: Request): Reply | Promise<Reply> {
  const row = table.get(request.keyword);
  if (row === undefined || row.available?.(state) === false) {
    throw new BadRequest('unknown command, or not valid in this state');
  }
  return row.run(state, request);
}
