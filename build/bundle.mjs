/**
 * Makes the command: bin/ and what it uses of lib/ as a few CommonJS files in dist/bin. A process that inetd
 * starts for one connection spends most of its time on loading modules one by one; these load in a third of it.
 * The library entry stays one file for each module in dist/lib, by tsc.
 *
 * Not minified, so that a stack trace names functions and leads to lines that can be read; `import()` stays a
 * file of its own, loaded when it is reached.
 */
import { writeFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { rolldown } from 'rolldown';

const ROOT = resolve(import.meta.dirname, '..');

/** A file that a module of lib/ finds beside itself is still found in dist/lib. */
const ownPlace = {
  name: 'own-place',
  transform(code, id) {
    if (!code.includes('import.meta.url')) return;
    const place = JSON.stringify(`/../${relative(ROOT, id).replace(/\.ts$/, '.js')}`);
    return code.replaceAll('import.meta.url', `require('node:url').pathToFileURL(__dirname + ${place}).href`);
  },
};

/** Says at the top of each file what it was made of: for whoever follows a stack trace, and for the tests. */
function contents({ moduleIds }) {
  const own = moduleIds.filter(id => id.startsWith(ROOT)).map(id => relative(ROOT, id));
  return `// Made by build/bundle.mjs of ${own.join(', ') || 'nothing of ours'}`;
}

/**
 * What is loaded at one time is one file: each of these modules with all it imports that is in no file above.
 * Without koffi, `host` must load and `native` cannot.
 */
const FILES = {
  greeting: ['lib/cli/inetd.ts'],
  session: ['lib/cli/one-client.ts'],
  host: ['lib/host/ids.ts', 'lib/host/hashing-gate.ts'],
  native: ['lib/host/linux.ts'],
  accounts: ['lib/auth/users-file.ts', 'lib/auth/chain.ts', 'lib/auth/gate.ts', 'lib/auth/salts.ts'],
  maildrop: ['lib/maildrop/open.ts'],
};

const bundle = await rolldown({
  input: resolve(ROOT, 'bin/mbox-pop3d.ts'),
  platform: 'node',
  external: id => /^[@a-z]/.test(id) && !id.startsWith(ROOT),
  plugins: [ownPlace],
});
await bundle.write({
  dir: resolve(ROOT, 'dist/bin'),
  format: 'cjs',
  entryFileNames: '[name].js',
  chunkFileNames: '[name].js',
  codeSplitting: {
    groups: Object.entries(FILES).map(([name, modules]) => ({
      name,
      test: id => modules.includes(relative(ROOT, id)),
    })),
  },
  banner: contents,
});
await bundle.close();
writeFileSync(resolve(ROOT, 'dist/bin/package.json'), '{ "type": "commonjs" }\n');
