import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['**/*.test.ts'],
    // Slow suites of their own: clients, faults, doors, agents, auth (.config.ts).
    exclude: [
      ...configDefaults.exclude,
      'clients/**',
      'faults/**',
      'doors/**',
      'agents/**',
      'auth/**',
      'tls/**',
    ],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
