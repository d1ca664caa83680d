/**
 * Compiles the kernels of lib/mbox/kernel/assembly into `binary.ts` beside it, a module like any other: what is in a module is
 * found by tests, by bundlers, and by a process that may no longer read files. Does nothing when that was
 * made of the same sources by the same compiler.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import asc, { version } from 'assemblyscript/asc';

const here = new URL('../lib/mbox/kernel/assembly/', import.meta.url);
const target = new URL('../binary.ts', here);

const hash = createHash('sha256').update(version);
for (const name of readdirSync(here).sort()) hash.update(name).update(readFileSync(new URL(name, here)));
const made = `Made by build/kernel.mjs of ${hash.digest('hex')}.`;
if (existsSync(target) && readFileSync(target, 'utf8').includes(made)) process.exit(0);

const { error, stderr, stdout } = await asc.main(
  [
    'index.ts',
    ...['--outFile', 'kernel.wasm', '--runtime', 'stub', '--optimizeLevel', '3', '--noAssert'],
    // Pages of 64 KiB: one below the slots, the slots, the blocks, the places, and one behind them. See layout.ts.
    ...['--enable', 'simd', '--initialMemory', '226', '--maximumMemory', '226', '--memoryBase', '57344'],
  ],
  {
    readFile: name => {
      const file = new URL(name, here);
      return existsSync(file) ? readFileSync(file, 'utf8') : null;
    },
    writeFile: (name, bytes) => {
      if (!name.endsWith('.wasm')) return;
      const base64 = Buffer.from(bytes).toString('base64');
      writeFileSync(target, `/** ${made} */\nexport const BINARY = '${base64}';\n`);
    },
    listFiles: () => [],
  },
);
process.stderr.write(stderr.toString());
process.stdout.write(stdout.toString());
if (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
