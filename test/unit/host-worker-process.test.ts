import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterEach, expect, test, vi } from 'vitest';
import { startWorker, WORKER_PIPE } from '../../lib/host/worker-process.js';
import { scratchDir } from '../support/mailbox.js';

afterEach(() => vi.unstubAllEnvs());

/** What a worker was started with, as it tells by its pipe. */
async function flagsOfWorker(): Promise<unknown> {
  const script = join(scratchDir(), 'worker.mjs');
  writeFileSync(
    script,
    `import { writeSync } from 'node:fs';\nwriteSync(${WORKER_PIPE}, JSON.stringify(process.execArgv));\n`,
  );
  const worker = startWorker(script, []);
  const flags = await json(worker.pipe);
  expect(await worker.gone).toBe('exit code 0');
  return flags;
}

test('a worker has one helper thread, and all else that our command line says', async () => {
  vi.stubEnv('NODE_OPTIONS', '');
  expect(await flagsOfWorker()).toEqual(['--v8-pool-size=1', ...process.execArgv]);
});

test.each(['--v8-pool-size=3', '--no-warnings --v8-pool-size 3', '--v8_pool_size=3'])(
  'NODE_OPTIONS of the sysadmin, %s, are not overruled',
  async options => {
    vi.stubEnv('NODE_OPTIONS', options);
    expect(await flagsOfWorker()).toEqual(process.execArgv);
  },
);
