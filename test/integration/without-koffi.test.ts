/**
 * An installation whose FFI cannot be loaded: the command still loads all that does without, serves the demo,
 * and refuses real mailboxes, to a client of inetd in POP3.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startDemo } from '../support/demo.js';
import { installInto } from '../support/installed.js';
import { scratchDir } from '../support/mailbox.js';
import { Nowait } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { run } from '../support/program.js';

function withoutKoffi(): { root: string; program: string } {
  const root = scratchDir();
  chmodSync(root, 0o755);
  const program = installInto(join(root, 'installed'));
  for (const name of ['koffi', '@koromix'])
    rmSync(join(root, 'installed/node_modules', name), { recursive: true });
  return { root, program };
}

test('without koffi: demo serves, serve does not start, a client of inetd is told', async () => {
  const { root, program } = withoutKoffi();
  const { port } = await startDemo([], { program });
  const client = await Pop3Client.loggedIn(port, 'alice', 'secret-alice');
  await client.ok('QUIT');

  const spool = join(root, 'spool');
  mkdirSync(spool);
  const places = [`--spool=${spool}`, `--state-dir=${join(root, 'state')}`];
  const refused = await run(['serve', '--listen=127.0.0.1:0', ...places], { program });
  expect(refused).toMatchObject({ code: 69, stdout: '' });
  expect(refused.stderr).toMatch(/Cannot find (module|package) 'koffi'/);

  const door = await Nowait.start([process.execPath, program, ...places]);
  const visitor = await Pop3Client.greeted(door.port);
  expect(await visitor.rest()).toBe('-ERR [SYS/PERM] the server is not set up\r\n');
  expect(await door.exits()).toEqual([69]);
});
