import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['**/*.test.ts'],
    // Slow suites of their own: clients.config.ts, faults.config.ts, doors.config.ts, agents.config.ts.
    exclude: [...configDefaults.exclude, 'clients/**', 'faults/**', 'doors/**', 'agents/**'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
