import { defineConfig } from 'vitest/config';

/** The slow suite: started by real inetds and by a real systemd (`npm run test:doors`). */
export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['doors/**/*.test.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 300_000,
    hookTimeout: 420_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
