/** Tests that need a whole host: root, mount namespaces, and other people's programs. */
import { testWith } from '../clients/programs.js';
import { IS_ROOT } from '../support/program.js';

/** What every scratch host needs. */
const ALWAYS = ['python3', 'unshare', 'mount'];

/** Skipped, loudly, where something is missing; under CI=true that is a failure. */
export function testAsRoot(programs: readonly string[], name: string, body: () => Promise<void>): void {
  // A name that no program has: told like one that is not installed.
  const root = IS_ROOT ? [] : ['started-as-root'];
  testWith([...root, ...ALWAYS, ...programs], name, body);
}
