import { defineConfig } from 'vitest/config';

/** The slow suite: a real process killed and a real disk failing at every call (`npm run test:faults`). */
export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['faults/**/*.test.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 3_600_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Each file keeps all processors busy by itself.
    fileParallelism: false,
  },
});
