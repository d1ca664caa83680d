/**
 * How fast messages are encoded for sending (LF → CRLF, byte-stuffing), by the kernel where the octets are, by the kernel
 * with copies there and back, and by its twin in TypeScript: pieces of several lengths, so that it can be seen from
 * where on a call of the kernel pays. In CPU time, the least of several rounds.
 *
 * usage: node bench/kernels.mjs [--smoke]   (after npm run build)
 */
import { encodeWire, encodeWireBy, startOfMessage } from '../dist/lib/mbox/encode-wire.js';
import { Kernel, loadKernel } from '../dist/lib/mbox/kernel/kernel.js';

const smoke = process.argv.includes('--smoke');
const LENGTHS = [8, 16, 32, 48, 64, 128, 1000, 16_000, 30_000];
/** Octets gone through in a round. */
const OCTETS = smoke ? 1e5 : 2e7;
const ROUNDS = smoke ? 1 : 9;

const kernel = loadKernel();
if (!(kernel instanceof Kernel)) throw kernel;
const { blocks, places } = kernel.memory;
const [from, into, elsewhere] = [blocks.take(), places.take(), Buffer.alloc(places.size)];

console.log(`Node.js ${process.version}; ns a piece, GB/s\n`);
console.log('| lines | octets | kernel |  | with copies |  | TypeScript |  |');
console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |');
for (const [name, line] of [
  ['text, LF', n => `${'x'.repeat((n * 37) % 72)}\n`],
  ['base64, LF', () => `${'A'.repeat(76)}\n`],
  ['base64, CRLF', () => `${'A'.repeat(76)}\r\n`],
]) {
  const text = Buffer.from(Array.from({ length: 2000 }, (_, n) => line(n)).join(''));
  for (const length of LENGTHS) {
    const copy = text.subarray(0, length);
    const piece = from.subarray(0, length);
    piece.set(copy);
    const state = { ...startOfMessage(Number.POSITIVE_INFINITY), inBody: true };
    const results = [
      () => encodeWireBy(kernel, state, piece, 0, into, 0),
      () => encodeWireBy(kernel, state, copy, 0, elsewhere, 0),
      () => encodeWire(state, copy, 0, elsewhere, 0),
    ].map(run => least(run, length));
    const cells = results.map(ns => `${ns.toFixed(0)} | ${(length / ns).toFixed(2)}`);
    console.log(`| ${name} | ${length} | ${cells.join(' | ')} |`);
  }
}

/** @returns nanoseconds of a call */
function least(run, length) {
  const calls = Math.ceil(OCTETS / Math.max(length, 200));
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < calls; i++) run();
    const { user, system } = process.cpuUsage(before);
    // The first is for the compiler.
    if (round > 0) best = Math.min(best, ((user + system) * 1e3) / calls);
  }
  return best;
}
