// Processes for PAM: found wherever the program is installed, and asked only while they live. What they are
// for is in test/auth.
import { cpSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { runHost } from '../support/host-child.js';
import { scratchDir } from '../support/mailbox.js';

const ROOT = new URL('../../', import.meta.url).pathname;

test('in a directory with a blank in its name', () => {
  const dir = join(scratchDir(), 'our mail, 100% ours');
  for (const name of ['dist', 'package.json']) cpSync(join(ROOT, name), join(dir, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  const workers = pathToFileURL(join(dir, 'dist/lib/host/pam-workers.js')).href;
  const { printed, stderr } = runHost(`
const { PamWorkers } = await import(${JSON.stringify(workers)});
const workers = new PamWorkers({ service: 'none', minimumUid: 1000, keep: 0 });
const question = { user: 'root', password: Buffer.from('secret'), address: '::1' };
print(await workers.ask(question, new AbortController().signal));`);
  expect(stderr).toBe('');
  expect(printed).toEqual([{ verdict: 'refused', user: '', reason: 'uid or gid 0' }]);
});

test('one that is being ended, because it was idle for long enough, is asked no more', () => {
  const workers = new URL('../../dist/lib/host/pam-workers.js', import.meta.url).href;
  const { printed, stderr } = runHost(`
const { PamWorkers } = await import(${JSON.stringify(workers)});
const workers = new PamWorkers({ service: 'none', minimumUid: 1000, keep: 20 });
const question = () => ({ user: 'root', password: Buffer.from('secret'), address: '::1' });
const ask = () => workers.ask(question(), new AbortController().signal);
for (const after of [20, 21, 22]) {
  await ask();
  // Due right after the end of the idle time.
  await new Promise(resolve => setTimeout(resolve, after));
  print((await ask()).verdict);
}
await workers.close();`);
  expect(stderr).toBe('');
  expect(printed).toEqual(['refused', 'refused', 'refused']);
});
