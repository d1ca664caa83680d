import { defineConfig } from 'vitest/config';

/** The slow suite: real delivery agents and mail readers on the same spool (`npm run test:agents`). */
export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['agents/**/*.test.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // A mail system has ports, queues and processes of its own.
    fileParallelism: false,
  },
});
