/**
 * TLS handshakes per second beside Dovecot: full handshakes of TLS 1.3, the same certificates, the same clients
 * (openssl s_time), in turns, so that a busy machine is busy for all of them. Dovecot runs in its own two ways:
 * a login process for each connection, as it comes, and one for all (its "high-performance mode").
 *
 * usage: node bench/tls.mjs [--smoke] [ROUNDS]   (after npm run build; as root, with dovecot-pop3d and openssl;
 * DOVECOT_LIBEXEC where pop3-login is elsewhere than in /usr/lib/dovecot)
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { cpuTime } from './processes.mjs';
import { freePort } from './servers.mjs';
import { median } from './table.mjs';

const ROOT = new URL('..', import.meta.url).pathname;
const PROGRAM = join(ROOT, 'dist/bin/mbox-pop3d.js');
const LIBEXEC = process.env.DOVECOT_LIBEXEC ?? '/usr/lib/dovecot';
const args = process.argv.slice(2);
const smoke = args.includes('--smoke');
const rounds = Number(args.find(arg => arg !== '--smoke') ?? (smoke ? 1 : 5));
/** Seconds of one measurement, and clients at a time. */
const SECONDS = smoke ? 1 : 3;
const CLIENTS = 2;

const scratch = mkdtempSync(join(tmpdir(), 'mbox-pop3d-bench-'));
chmodSync(scratch, 0o755);
const processes = [];
try {
  await main();
} finally {
  for (const child of processes) child.kill('SIGTERM');
  rmSync(scratch, { recursive: true, force: true });
}

async function main() {
  const withDovecot = existsSync(join(LIBEXEC, 'pop3-login'));
  if (!withDovecot) console.error('SKIPPED: Dovecot: no pop3-login (install dovecot-pop3d)');
  console.log(
    '| key | server | median handshakes/s | least | most | CPU ms each |\n|---|---|---:|---:|---:|---:|',
  );
  for (const key of ['ec', 'rsa']) {
    const servers = [{ name: 'mbox-pop3d', ...(await startOurs(key)) }];
    if (withDovecot) {
      servers.push({ name: 'Dovecot, one login process for all', ...(await startDovecot(key, 0)) });
      servers.push({ name: 'Dovecot, a process for each connection', ...(await startDovecot(key, 1)) });
    }
    const rates = servers.map(() => []);
    const used = servers.map(({ pid }) => -cpuTime(pid));
    const handshakes = servers.map(() => 0);
    for (let round = 0; round < rounds; round++) {
      for (const [i, { port }] of servers.entries()) {
        const { rate, count } = await measure(port);
        rates[i].push(rate);
        handshakes[i] += count;
      }
    }
    for (const [i, { name, pid }] of servers.entries()) {
      const each = ((used[i] + cpuTime(pid)) / handshakes[i]).toFixed(2);
      const sorted = rates[i].toSorted((a, b) => a - b);
      const cells = [median(sorted), sorted[0], sorted.at(-1)].map(rate => rate.toFixed(0));
      console.log(
        `| ${key === 'ec' ? 'ECDSA P-256' : 'RSA 2048'} | ${name} | ${cells.join(' | ')} | ${each} |`,
      );
    }
  }
}

/** Handshakes of all clients together, and how many in a second. */
async function measure(port) {
  const run = promisify(execFile);
  const flags = ['s_time', '-connect', `127.0.0.1:${port}`, '-new', '-time', String(SECONDS), '-tls1_3'];
  const outputs = await Promise.all(Array.from({ length: CLIENTS }, () => run('openssl', flags)));
  let [rate, handshakes] = [0, 0];
  for (const { stdout } of outputs) {
    const [, count, seconds] = /(\d+) connections in (\d+) real seconds/.exec(stdout) ?? [];
    if (count === undefined) throw new Error(`openssl s_time said: ${stdout}`);
    rate += Number(count) / Number(seconds);
    handshakes += Number(count);
  }
  return { rate, count: handshakes };
}

/** Copies that only this server has; one that changes is read again. */
function certificate(key, server) {
  const files = { cert: join(scratch, `${server}-${key}.crt`), key: join(scratch, `${server}-${key}.key`) };
  copyFileSync(join(ROOT, `test/support/tls/${key}.crt`), files.cert);
  copyFileSync(join(ROOT, `test/support/tls/${key}.key`), files.key);
  chmodSync(files.key, 0o600);
  return files;
}

async function startOurs(name) {
  const { cert, key } = certificate(name, 'ours');
  const dir = join(scratch, `ours-${name}`);
  mkdirSync(join(dir, 'spool'), { recursive: true });
  writeFileSync(join(dir, 'users'), '');
  const port = await freePort();
  const flags = [
    ...['--spool', join(dir, 'spool'), '--users', join(dir, 'users'), '--state-dir', join(dir, 'state')],
    ...['--tls-listen', `127.0.0.1:${port}`, '--tls-cert', cert, '--tls-key', key, '--log-level', 'error'],
    ...(process.geteuid() === 0 ? ['--user', 'nobody', '--group', 'nogroup'] : []),
  ];
  return started(
    spawn(process.execPath, [PROGRAM, 'serve', ...flags], { stdio: ['ignore', 'ignore', 'inherit'] }),
    port,
  );
}

async function startDovecot(name, serviceCount) {
  const { cert, key } = certificate(name, `dovecot-${serviceCount}`);
  const dir = join(scratch, `dovecot-${name}-${serviceCount}`);
  mkdirSync(dir);
  const port = await freePort();
  const conf = join(dir, 'dovecot.conf');
  writeFileSync(
    conf,
    `base_dir = ${dir}/run
state_dir = ${dir}/state
protocols = pop3
log_path = /dev/null
ssl = required
ssl_cert = <${cert}
ssl_key = <${key}
ssl_min_protocol = TLSv1.2
mail_location = mbox:${dir}/mail
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=${dir}
}
service pop3-login {
  executable = ${LIBEXEC}/pop3-login
  service_count = ${serviceCount}
  process_min_avail = 1
  ${serviceCount === 0 ? 'process_limit = 1\n  client_limit = 10000' : 'process_limit = 1000'}
  inet_listener pop3 {
    port = 0
  }
  inet_listener pop3s {
    address = 127.0.0.1
    port = ${port}
    ssl = yes
  }
}
service pop3 {
  executable = ${LIBEXEC}/pop3
}
service anvil {
  client_limit = 20000
}
`,
  );
  return started(spawn('dovecot', ['-F', '-c', conf], { stdio: ['ignore', 'ignore', 'inherit'] }), port);
}

/** Waits until a client is greeted. */
async function started(child, port) {
  processes.push(child);
  for (let tries = 0; tries < 100; tries++) {
    try {
      const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
      const [greeting] = await once(socket, 'data', { signal: AbortSignal.timeout(2000) });
      socket.destroy();
      if (String(greeting).startsWith('+OK')) return { port, pid: child.pid };
    } catch {
      // Not yet.
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  throw new Error(`${child.spawnfile} does not greet on port ${port}`);
}
