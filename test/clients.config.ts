import { defineConfig } from 'vitest/config';

/** The slow suite: real clients against a real server process (`npm run test:clients`). */
export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['clients/**/*.test.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 300_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
