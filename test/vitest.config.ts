import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    // The slow suites have a folder and a configuration each; `npm test` takes less than two minutes.
    include: ['*.test.ts', 'unit/**/*.test.ts', 'property/**/*.test.ts', 'integration/**/*.test.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 120_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // On two cores: some of the files wait for time to pass.
    maxWorkers: 3,
  },
});
