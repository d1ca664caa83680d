import { defineConfig } from 'vitest/config';

/** The slow suite: real PAM, real saslauthd, real programs that manage or watch logins (`npm run test:auth`). */
export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['auth/**/*.test.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    passWithNoTests: true,
  },
});
