/**
 * The program as it is once installed somewhere else: `dist`, the examples, `package.json` and what it
 * depends on at run time, copied.
 */
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const ROOT = new URL('../../', import.meta.url).pathname;

/** Copies it to below `dir`. @returns the path of the command */
export function installInto(dir: string): string {
  for (const name of ['dist', 'spool-fixtures', 'package.json']) {
    cpSync(join(ROOT, name), join(dir, name), { recursive: true });
  }
  for (const name of runtimePackages()) {
    mkdirSync(join(dir, dirname(name)), { recursive: true });
    cpSync(join(ROOT, name), join(dir, name), { recursive: true });
  }
  return join(dir, 'dist/bin/mbox-pop3d.js');
}

/** Paths of all packages needed at run time, of those that were installed for this platform. */
function runtimePackages(): string[] {
  const lock: { packages: Record<string, { dev?: boolean; devOptional?: boolean }> } = JSON.parse(
    readFileSync(join(ROOT, 'package-lock.json'), 'utf8'),
  );
  return Object.entries(lock.packages)
    .filter(([name, { dev, devOptional }]) => name !== '' && !dev && !devOptional)
    .map(([name]) => name)
    .filter(name => existsSync(join(ROOT, name)));
}
