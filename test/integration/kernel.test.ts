/**
 * Node.js without WebAssembly, without SIMD, or without room for linear memory: every octet is served all the
 * same, unless the server was told to do nothing without the kernels.
 */
import { expect, test } from 'vitest';
import { Expected } from '../clients/expected.js';
import { DEMO, startDemo, temporary } from '../support/demo.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, type RunOptions, run } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY } from '../support/serving.js';

const DEBUG = ['--log-level', 'debug'];
const WHO: RunOptions = IS_ROOT ? SERVED_BY : {};

const WITHOUT: [string, RunOptions, RegExp][] = [
  [
    'without WebAssembly',
    { node: ['--jitless'] },
    /no-kernel reason="this Node\.js runs without WebAssembly"/,
  ],
  ...(process.arch === 'x64'
    ? [
        [
          'without SIMD',
          { node: ['--no-enable-ssse3', '--no-enable-sse4-1'] },
          /no-kernel reason=".*Wasm SIMD unsupported/,
        ] as [string, RunOptions, RegExp],
      ]
    : []),
  ['without linear memory', { node: ['--wasm-max-mem-pages=10'] }, /no-kernel reason=".*[Mm]emory/],
];

async function servesAll(port: number): Promise<void> {
  const expected = new Expected('alice');
  const client = await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
  for (const [i, wire] of expected.wire.entries()) {
    const { content } = await client.multiline(`RETR ${i + 1}`);
    expect(content.toString('latin1')).toBe(wire);
  }
  await client.ok('QUIT');
}

test.each(WITHOUT)('%s: auto does without', async (_name, options, reason) => {
  const { demo, port } = await startDemo(DEBUG, { ...WHO, ...options });
  await servesAll(port);
  expect(demo.stderr()).toMatch(reason);
});

test.each(WITHOUT)('%s: wasm does not start', async (_name, options) => {
  const { code, stderr } = await run([...DEMO, '--kernel', 'wasm'], {
    ...WHO,
    ...options,
    env: { TMPDIR: temporary() },
  });
  expect(code).toBe(69);
  expect(stderr).toContain('--kernel wasm: ');
});

test('in less address space than guard pages take: by the kernels where Node.js does without such pages', async () => {
  const wrapper = ['bash', '-c', 'ulimit -v 8000000 && exec "$@"', 'bash'];
  const { demo, port } = await startDemo(DEBUG, { ...WHO, wrapper });
  await servesAll(port);
  const { length } = demo.stderr().match(/no-kernel/g) ?? [];
  // Node.js 24 is the first that does.
  expect(length).toBe(Number.parseInt(process.versions.node, 10) < 24 ? 1 : 0);
});

test.each([
  ['as it is', []],
  ['without guard pages', ['--disable-wasm-trap-handler']],
])('with WebAssembly, %s', async (_name, node) => {
  const { demo, port } = await startDemo([...DEBUG, '--kernel', 'wasm'], { ...WHO, node });
  await servesAll(port);
  expect(demo.stderr()).not.toContain('no-kernel');
});

test('typescript', async () => {
  const node = ['--jitless'];
  const { demo, port } = await startDemo([...DEBUG, '--kernel', 'typescript'], { ...WHO, node });
  await servesAll(port);
  expect(demo.stderr()).not.toContain('no-kernel');
});

test('another word is refused', async () => {
  const { code, stderr } = await run([...DEMO, '--kernel', 'fast'], { ...WHO, env: { TMPDIR: temporary() } });
  expect(code).toBe(64);
  expect(stderr).toContain('--kernel fast: choose of auto, wasm, typescript');
});
