/** The code under test is what is shipped: `dist`, after `npm run build`. */

/** Another build may be named, to leave `dist` to somebody else. */
export const DIST = process.env.FAULTS_DIST ?? new URL('../../dist', import.meta.url).pathname;

/** FAULTS=full: everything; else what fits in a few minutes on two cores. */
export const FULL = process.env.FAULTS === 'full';
