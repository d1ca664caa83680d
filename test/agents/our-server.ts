/** Our server in an agents' host, as the shared daemon; its state directory is the service account's. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { SERVICE } from '../doors/kinds.js';
import type { AgentHost } from './agent-host.js';

/** @returns the port, once it is ready */
export async function serve(host: AgentHost, ...flags: string[]): Promise<number> {
  return (await startServer(host, ...flags)).port;
}

/** @returns its port and the process, once it is ready */
export async function startServer(
  host: AgentHost,
  ...flags: string[]
): Promise<{ port: number; child: ChildProcess }> {
  host.directory('shared', SERVICE.uid, SERVICE.gid, 0o700);
  const [node, program, ...rest] = host.program('shared', [...flags, '--listen', '127.0.0.1:0']);
  const child = host.start([node!, program!, 'serve', ...rest], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout!.setEncoding('utf8');
  const [line] = await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')]);
  const port = /ready on 127\.0\.0\.1:(\d+)\n/.exec(String(line))?.[1];
  if (port === undefined) throw new Error(`the server did not start: ${line}`);
  return { port: Number(port), child };
}

/** Writes a mailbox in place: owner and mode stay. */
export function fillMailbox(host: AgentHost, user: string, mail: string): void {
  writeFileSync(host.mailbox(user), mail, 'latin1');
}
