import { defineConfig } from 'vitest/config';

/**
 * The slow suite: clients that mean harm, thousands of them, against the daemon as a process
 * (`npm run test:hostile`; the full counts with `HOSTILE=full`). With the full counts one file at a time, so that the
 * latencies it prints are of one attack.
 */
export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['hostile/**/*.test.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: process.env.HOSTILE === 'full' ? 1_800_000 : 300_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: process.env.HOSTILE === 'full' ? 1 : 2,
  },
});
