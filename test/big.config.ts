/** The slow suite of `npm run test:big`: mailboxes of several GiB. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['big/*.big.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 300_000,
    pool: 'forks',
    maxWorkers: 1,
  },
});
