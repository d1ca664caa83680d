/**
 * What hostile clients cost a server, and a good client beside them: this server and Dovecot on the same
 * mailboxes, one after the other, each attack in turn. Memory is that of all processes of a server together
 * (proportional set size, proc_pid_smaps(5), so that what they share counts once); latency is that of whole
 * sessions (connect, USER, PASS, RETR 1, QUIT).
 *
 * usage: node bench/hostile.mjs [--smoke]   (as root, after npm run build; Dovecot: apt install dovecot-pop3d)
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { memory as memoryOf } from './processes.mjs';

const PROGRAM = new URL('../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const GOOD_CLIENT = new URL('../test/hostile/good-client.mjs', import.meta.url).pathname;
/** `mail` of Debian: Dovecot serves no uid below `first_valid_uid`, and nobody as no one. */
const [UID, GID] = [8, 8];
const PORT = 11995;
const MiB = 1 << 20;
/** From each address of 127.0.0.0/8. */
const PER_ADDRESS = 40;
const AT_ONCE = 100;
const WARM_UP_MS = 3000;

const smoke = process.argv.includes('--smoke');
const SIZES = smoke
  ? { slow: 50, idle: 100, line: 10 * MiB, commands: 10_000, watch: 1000 }
  : { slow: 1000, idle: 5000, line: 100 * MiB, commands: 1_000_000, watch: 10_000 };

const CHANGED = `Not by default: mbox-pop3d --max-connections 15000 --login-timeout 180 (as Dovecot's); Dovecot
default_client_limit 15000, default_process_limit 1000, mail_max_userip_connections 100, auth_failure_delay 0,
ssl no, pop3-login with service_count 0 and two processes (else one for each connection).`;

const ATTACKS = [
  [`${SIZES.slow} × slowloris, an octet each second`, slowloris],
  [`${SIZES.idle} × idle before login`, idle],
  [`${SIZES.line / MiB} MiB without a newline`, line],
  [`${SIZES.commands} commands unread, after login`, unread],
];

const root = mkdtempSync(join(tmpdir(), 'mbox-pop3d-bench-'));
let stop = () => {};
try {
  await main();
} finally {
  stop();
  rmSync(root, { recursive: true, force: true });
}

async function main() {
  makeSpool();
  const rows = [];
  for (const [name, start] of [
    ['mbox-pop3d', startOurs],
    ['Dovecot', startDovecot],
  ]) {
    for (const [attack, run] of ATTACKS) {
      const server = await start();
      stop = server.stop;
      rows.push([attack, name, ...(await measure(server, run))]);
      await server.stop();
    }
  }
  console.log(`${version()}\n\n${CHANGED}\n`);
  console.log(
    '| attack | server | MiB before | most | more | KiB a client | p50 / p99 ms before | during | failed |',
  );
  console.log('|---|---|---:|---:|---:|---:|---:|---:|---:|');
  for (const [attack] of ATTACKS) {
    for (const row of rows) if (row[0] === attack) console.log(`| ${row.join(' | ')} |`);
  }
}

/** @returns the columns of a row */
async function measure(server, attack) {
  const good = goodClient(server.port);
  await sleep(WARM_UP_MS);
  const calm = await good.report();
  const before = memory(server.pid);
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, memory(server.pid));
  }, 500);
  const crowd = [];
  await attack(server, crowd);
  most = Math.max(most, memory(server.pid));
  const during = await good.report();
  clearInterval(watch);
  good.leave();
  for (const socket of crowd) socket.destroy();
  const each = ((most - before) / 1024 / crowd.length).toFixed(0);
  const times = ({ p50, p99 }) => `${p50.toFixed(1)} / ${p99.toFixed(1)}`;
  const failed = `${during.failures.length} of ${during.failures.length + during.sessions}`;
  if (during.failures.length > 0) console.error(server.name, during.failures[0]);
  const mega = octets => (octets / MiB).toFixed(0);
  return [mega(before), mega(most), mega(most - before), each, times(calm), times(during), failed];
}

async function slowloris({ port }, crowd) {
  await gather(crowd, port, SIZES.slow);
  for (let tick = 0; tick < SIZES.watch / 1000; tick++) {
    for (const socket of crowd) if (socket.writable) socket.write('U');
    await sleep(1000);
  }
}

async function idle({ port }, crowd) {
  await gather(crowd, port, SIZES.idle);
  await sleep(SIZES.watch);
}

async function line({ port }, crowd) {
  await gather(crowd, port, 1);
  const [socket] = crowd;
  const chunk = Buffer.alloc(64 * 1024, 'A');
  for (let sent = 0; sent < SIZES.line && socket.writable; sent += chunk.length) {
    if (socket.write(chunk)) continue;
    await new Promise(resolve => {
      socket.once('drain', resolve).once('close', resolve);
    });
  }
  await sleep(1000);
}

async function unread({ port }, crowd) {
  await gather(crowd, port, 1, false);
  crowd[0].write(`USER flood\r\nPASS secret\r\n${'UIDL\r\n'.repeat(SIZES.commands)}`);
  await sleep(SIZES.watch);
}

/** Connects so many, from many addresses; some servers will not have them all. */
async function gather(crowd, port, size, reading = true) {
  while (crowd.length < size) {
    const next = Array.from({ length: Math.min(AT_ONCE, size - crowd.length) }, (_, i) => {
      const house = Math.floor((crowd.length + i) / PER_ADDRESS);
      const localAddress = `127.9.${house >> 8}.${house & 255 || 255}`;
      const socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true });
      if (reading) socket.resume();
      return socket.on('error', () => {});
    });
    crowd.push(...next);
    await Promise.all(
      next.map(socket => new Promise(done => socket.once('connect', done).once('close', done))),
    );
  }
}

function makeSpool() {
  const text = user =>
    `From a@example.org Mon Jan  5 10:00:00 2026\nSubject: ${user}\n\n${'text\n'.repeat(100)}\n`;
  mkdirSync(join(root, 'spool'), { mode: 0o700 });
  writeFileSync(join(root, 'spool', 'good'), text('good'));
  writeFileSync(join(root, 'spool', 'flood'), text('flood').repeat(100));
  writeFileSync(
    join(root, 'users'),
    ['good', 'flood'].map(user => `${user}:{PLAIN}secret:${UID}:${GID}::${root}/home::\n`).join(''),
  );
  mkdirSync(join(root, 'home'));
  // Dovecot's auth has a user of its own; the file is Dovecot's copy.
  writeFileSync(join(root, 'passwd'), readFileSync(join(root, 'users')));
  chmodSync(root, 0o755);
  for (const path of ['', 'spool', 'spool/good', 'spool/flood', 'users', 'home'])
    chownSync(join(root, path), UID, GID);
}

async function startOurs() {
  const flags = [
    '--listen',
    `127.0.0.1:${PORT}`,
    '--spool',
    join(root, 'spool'),
    '--users',
    join(root, 'users'),
  ];
  const limits = ['--max-connections', '15000', '--login-timeout', '180', '--log-level', 'error'];
  const state = ['--state-dir', join(root, 'state'), '--user', 'mail', '--group', 'mail'];
  const child = spawn(process.execPath, [PROGRAM, 'serve', ...flags, ...limits, ...state], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(createInterface(child.stdout), 'line');
  return { name: 'mbox-pop3d', port: PORT, pid: child.pid, stop: () => ended(child) };
}

/** Its defaults but for the limits, which would turn the crowd away, and what a scratch directory needs. */
async function startDovecot() {
  const base = join(root, 'dovecot');
  mkdirSync(base, { recursive: true });
  const config = join(base, 'dovecot.conf');
  writeFileSync(
    config,
    `protocols = pop3
listen = 127.0.0.1
base_dir = ${base}/run
state_dir = ${base}
log_path = ${base}/log
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
default_client_limit = 15000
default_process_limit = 1000
mail_max_userip_connections = 100
first_valid_uid = 1
mail_location = mbox:~/mail:INBOX=${root}/spool/%u
mail_access_groups = mail
service pop3-login {
  inet_listener pop3 {
    port = ${PORT + 1}
  }
  inet_listener pop3s {
    port = 0
  }
  # One process for all, as its documentation advises for performance; else a process a connection.
  service_count = 0
  process_limit = 2
  vsz_limit = 1G
}
service anvil {
  client_limit = 40000
}
service auth {
  client_limit = 40000
}
passdb {
  driver = passwd-file
  args = ${root}/passwd
}
userdb {
  driver = passwd-file
  args = ${root}/passwd
}
`,
  );
  const child = spawn('sh', ['-c', 'ulimit -n "$(ulimit -Hn)"; exec dovecot -F -c "$1"', 'sh', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  for (;;) {
    const socket = connect(PORT + 1, '127.0.0.1').on('error', () => {});
    const [event] = await Promise.race([once(socket, 'data'), sleep(300, ['later'])]).catch(() => ['later']);
    socket.destroy();
    if (child.exitCode !== null) throw new Error(`Dovecot ended: ${child.exitCode}`);
    if (event !== 'later') break;
    await sleep(100);
  }
  return { name: 'Dovecot', port: PORT + 1, pid: child.pid, stop: () => ended(child) };
}

async function ended(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = once(child, 'exit');
  child.kill('SIGTERM');
  await over;
}

/** Of a process and all it has started, in octets. */
function memory(pid) {
  return memoryOf(pid).pss * 1024;
}

function goodClient(port) {
  const child = spawn(process.execPath, [GOOD_CLIENT, 'plain', String(port), 'good', 'secret'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const reports = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    report: async () => {
      child.stdin.write('\n');
      return JSON.parse((await reports.next()).value);
    },
    leave: () => child.stdin.end(),
  };
}

function version() {
  const dovecot = execFileSync('dovecot', ['--version'], { encoding: 'utf8' }).trim();
  return `Node.js ${process.version}, Dovecot ${dovecot}`;
}

function sleep(ms, value) {
  return new Promise(resolve => setTimeout(resolve, ms, value));
}
