/**
 * What a client of inetd waits for: the time from starting the process to its greeting, beside bare Node.js,
 * and what a compile cache or a bundle would save. All variants take turns, so that a busy machine is busy
 * for all of them; the medians are compared.
 *
 * usage: node bench/startup.mjs [--smoke] [ROUNDS] [VERSION...]   (after npm run build; versions through npx)
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = new URL('..', import.meta.url).pathname;
const PROGRAM = join(ROOT, 'dist/bin/mbox-pop3d.js');
const args = process.argv.slice(2);
const smoke = args.includes('--smoke');
const [rounds = smoke ? '2' : '25', ...versions] = args.filter(arg => arg !== '--smoke');
if (versions.length === 0 && !smoke) versions.push('20', '22', '24', '26');

const scratch = mkdtempSync(join(tmpdir(), 'mbox-pop3d-bench-'));
// Below the repository, so that the bundle finds koffi.
const bundles = join(ROOT, 'node_modules/.bench-startup');
try {
  await main();
} finally {
  for (const dir of [scratch, bundles]) rmSync(dir, { recursive: true, force: true });
}

async function main() {
  mkdirSync(join(scratch, 'spool'));
  writeFileSync(join(scratch, 'users'), '');
  const bundle = smoke ? undefined : makeBundle();
  const nodes = versions.length === 0 ? [process.execPath] : versions.map(findNode);
  console.log('| Node.js | variant | median ms | least ms | beside bare |\n|---|---|---:|---:|---:|');
  for (const node of nodes) {
    const version = execFileSync(node, ['-v'], { encoding: 'utf8' }).trim();
    const variants = variantsFor(version, bundle);
    for (const { run } of variants) await run(node); // Fills the caches: of files, and of compiled code.
    const times = variants.map(() => []);
    for (let round = 0; round < Number(rounds); round++) {
      for (const [i, { run }] of variants.entries()) times[i].push(await run(node));
    }
    const bare = median(times[0]);
    for (const [i, { name }] of variants.entries()) {
      const middle = median(times[i]);
      const cells = [
        version,
        name,
        middle.toFixed(0),
        Math.min(...times[i]).toFixed(0),
        (middle / bare).toFixed(2),
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
}

function variantsFor(version, bundle) {
  // NODE_COMPILE_CACHE came with 22.1.
  const caches = Number(version.slice(1).split('.')[0]) >= 22;
  const cache = name => ({ NODE_COMPILE_CACHE: join(scratch, `${version}-${name}`) });
  return [
    { name: 'bare: `node -e 0`', run: node => timeToExit(node, ['-e', '0']) },
    {
      name: 'koffi alone',
      run: node => timeToExit(node, ['-e', `require(${JSON.stringify(join(ROOT, 'node_modules/koffi'))})`]),
    },
    { name: 'greeting', run: node => timeToGreeting(node, PROGRAM) },
    caches && { name: 'greeting, compile cache', run: node => timeToGreeting(node, PROGRAM, cache('files')) },
    bundle && { name: 'greeting, bundle', run: node => timeToGreeting(node, bundle) },
    caches &&
      bundle && {
        name: 'greeting, bundle, compile cache',
        run: node => timeToGreeting(node, bundle, cache('bundle')),
      },
  ].filter(variant => typeof variant === 'object');
}

/** Milliseconds. */
async function timeToExit(node, argv) {
  const began = performance.now();
  const child = spawn(node, argv, { stdio: 'ignore', env: {} });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${node} ${argv.join(' ')}: exit ${code}`);
  return performance.now() - began;
}

/** Milliseconds from starting the process for a connection that is there already, as inetd does. */
async function timeToGreeting(node, program, env = {}) {
  const server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect(server.address().port, '127.0.0.1');
  const [socket] = await once(server, 'connection');
  const flags = [`--spool=${scratch}/spool`, `--users=${scratch}/users`, `--state-dir=${scratch}/state`];
  const began = performance.now();
  const child = spawn(node, [program, ...flags], { stdio: [socket, socket, socket], env });
  const exited = once(child, 'exit');
  socket.destroy();
  const [greeting] = await once(client, 'data');
  const took = performance.now() - began;
  if (!String(greeting).startsWith('+OK ')) throw new Error(`greeted by ${greeting}`);
  client.resume().end('QUIT\r\n');
  await exited;
  server.close();
  return took;
}

/** @returns the path of the program as one file for the greeting and others for what comes later */
function makeBundle() {
  const require =
    "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";
  const esbuild = [
    '--bundle',
    '--platform=node',
    '--format=esm',
    '--splitting',
    '--minify',
    '--external:koffi',
  ];
  const out = [`--outdir=${bundles}`, '--out-extension:.js=.mjs', `--banner:js=${require}`];
  execFileSync('npx', ['-y', 'esbuild', PROGRAM, ...esbuild, ...out, '--log-level=error'], {
    stdio: 'inherit',
    cwd: ROOT,
  });
  return join(bundles, 'mbox-pop3d.mjs');
}

function findNode(version) {
  const find = ['-y', '-p', `node@${version}`, '-c', 'command -v node'];
  return execFileSync('npx', find, { encoding: 'utf8', cwd: scratch }).trim();
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
