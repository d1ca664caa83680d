import { defineConfig } from 'vitest/config';

/** The slow suite: TLS with real clients and by every front door, and certificates that change under load (`npm run test:tls`). */
export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: ['tls/**/*.test.ts'],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    testTimeout: 300_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
