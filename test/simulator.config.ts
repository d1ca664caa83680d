import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['simulator/**/*.sim.ts'],
    setupFiles: ['simulator/setup.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    // As they come, so that a long run shows how far it is.
    disableConsoleIntercept: true,
    // SIMULATOR_DEEP=1 takes hours.
    testTimeout: 24 * 3_600_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
