/**
 * How often a property is tried, and with what. `npm test` tries the same cases each time; `npm run fuzz`
 * (../fuzz.config.ts) others, and more of them. A case that fails there becomes one of the `examples` of its property.
 */

const { FUZZ_SEED, FUZZ_TIMES = '1' } = process.env;

/** How many times as many cases as in `npm test`. */
export const TIMES = Number(FUZZ_TIMES);

/**
 * @param seed of `npm test`
 * @param numRuns how many cases there
 * @returns parameters of fast-check
 */
export function runs(seed: number, numRuns: number): { seed: number; numRuns: number } {
  // Another for each property, or all that begin alike would try the same.
  return { seed: FUZZ_SEED === undefined ? seed : Number(FUZZ_SEED) ^ seed, numRuns: numRuns * TIMES };
}
