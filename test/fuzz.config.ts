/**
 * `npm run fuzz`: the properties of `npm test` with other cases, and ten times as many. FUZZ_SEED=N tries the same ones
 * again, FUZZ_TIMES=N as many as one likes.
 */
import { defineConfig } from 'vitest/config';

const { FUZZ_SEED = String(Date.now() % 2 ** 31), FUZZ_TIMES = '10' } = process.env;
for (const [name, value] of Object.entries({ FUZZ_SEED, FUZZ_TIMES })) {
  if (!/^[1-9][0-9]{0,9}$/.test(value)) throw new Error(`${name}=${value} is not a number above 0`);
}
console.log(`FUZZ_SEED=${FUZZ_SEED} FUZZ_TIMES=${FUZZ_TIMES}`);

export default defineConfig({
  test: {
    root: new URL('.', import.meta.url).pathname,
    include: [
      'property/**/*.test.ts',
      'unit/{auth-verified-logins,host-pam-frames,maildrop-kept-ranges,mbox-boundary-audit}.test.ts',
      'unit/pop3-{listing,multiline,request,sasl}.test.ts',
    ],
    reporters: ['default', new URL('./support/reporter.ts', import.meta.url).pathname],
    env: { FUZZ_SEED, FUZZ_TIMES },
    testTimeout: 20 * 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
