// No descriptors are left: one login fails, and the process that checks it goes on.
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

const BUILT = new URL('../../dist/lib/host/', import.meta.url).href;

/** Opens all that may be opened, then runs `ask`, which prints why it failed. */
function withoutDescriptors(ask: string): string[] {
  const program = `
import { openSync } from 'node:fs';
const host = name => import(${JSON.stringify(BUILT)} + name);
const { checkpassword } = await host('checkpassword.js');
const { PamWorkers } = await host('pam-workers.js');
const question = { user: 'alice', password: Buffer.from('secret'), address: '::1', port: 1 };
const { signal } = new AbortController();
// What is loaded by the first use.
await checkpassword({ ...question, command: ['/bin/false'] }, signal);
try { for (;;) openSync('/dev/null'); } catch (error) { console.log(error.code); }
${ask}
// An error that nobody listens to, or a rejection that nobody handles, would have ended us by now.
await new Promise(resolve => setTimeout(resolve, 50));
console.log('still there');`;
  const node = [process.execPath, '--input-type=module', '-e', program];
  const { stdout, stderr } = spawnSync('/bin/sh', ['-c', 'ulimit -n 64; exec "$@"', 'sh', ...node], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return stdout.trim().split('\n');
}

test('a checkpassword program cannot be started', () => {
  const ask = "console.log((await checkpassword({ ...question, command: ['/bin/false'] }, signal)).why);";
  expect(withoutDescriptors(ask)).toEqual(['EMFILE', 'spawn /bin/false EMFILE', 'still there']);
});

test('a process for PAM cannot be started', () => {
  const ask = `const workers = new PamWorkers({ service: 'none', minimumUid: 1000, keep: 0 });
await workers.ask(question, signal).catch(error => console.log(error.message));
await workers.close();`;
  expect(withoutDescriptors(ask)).toEqual([
    'EMFILE',
    'pam-worker.js cannot be started: too many open files',
    'still there',
  ]);
});
