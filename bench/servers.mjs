/**
 * The servers that are compared, each with a spool of its own: this one, and those peers that this host has. Each as
 * its manual has it, and at its best where that needs a setting; nobody's hashes, limits or delays differ. popa3d and
 * Solid run under a bare inetd (c/inetd.c), since popa3d's own daemon serves five sessions a second to one address.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const PROGRAM = new URL('../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const ENTER = new URL('./enter.sh', import.meta.url).pathname;
const PEERS = process.env.MBOX_POP3D_PEERS ?? '';
const MANY = '30000';
/** How long a server may take to end. */
const STOP_MS = 2000;
let started = 0;
const children = new Set();
/** 10,000 sessions take more descriptors than most shells allow. */
export const RAISE_LIMIT = 'ulimit -n 200000 2>/dev/null || ulimit -n "$(ulimit -Hn)"';

export const OURS = 'mbox-pop3d';

/** Programs of the peers, by the name of the server. */
const PEER_PROGRAMS = {
  popa3d: 'popa3d',
  Dovecot: 'dovecot',
  Mailutils: 'pop3d',
  Solid: 'solid-pop3d',
};

/** @returns the path of a peer's program in its mount namespace, or undefined */
function peerProgram(name) {
  const file = PEER_PROGRAMS[name];
  return ['/usr/sbin', '/usr/local/sbin']
    .map(dir => join(dir, file))
    .find(path => existsSync(PEERS + path) || existsSync(path));
}

/** @returns {{ found: string[], missing: string[] }} peers of this host, in the order of the table */
export function findPeers() {
  const names = Object.keys(PEER_PROGRAMS);
  const found = names.filter(name => process.geteuid() === 0 && peerProgram(name) !== undefined);
  return { found, missing: names.filter(name => !found.includes(name)) };
}

/** Packages that bench/unpack-peers.sh has unpacked, with versions. */
export function peerVersions() {
  const file = join(PEERS, 'versions');
  return PEERS !== '' && existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

/**
 * A server that runs.
 *
 * @typedef {object} Server
 * @property {string} name
 * @property {number} port
 * @property {number} pid of its first process
 * @property {string} spool
 * @property {() => void} forget removes what it knows about mailboxes: index, cache
 * @property {() => Promise<void>} stop
 */

/** @param {{ flags?: string[], how?: 'serve' | 'wait' | 'nowait', users?: string }} [options] @returns {Promise<Server>} */
export async function startOurs({ site, tools }, { flags = [], how = 'serve', users = site.users } = {}) {
  const spool = site.spool('ours');
  const state = join(site.directory('state'), `${how}-${started++}`);
  const identity = site.isRoot && how !== 'nowait' ? ['--user', OURS, '--group', 'mail'] : [];
  const all = [
    ...['--spool', spool, '--users', users, '--state-dir', state],
    ...['--max-connections', MANY, '--max-connections-per-address', MANY, ...identity, ...flags],
  ];
  const program = [process.execPath, PROGRAM];
  const command =
    how === 'serve'
      ? [...program, 'serve', '--listen', '127.0.0.1:0', ...all]
      : [tools.inetd, how, ...program, ...all];
  const server = await start(site, OURS, spool, command);
  const forget = () => {
    if (existsSync(state)) execFileSync('find', [state, '-type', 'f', '-name', 'index*', '-delete']);
  };
  return { ...server, forget };
}

/** @param {'best' | 'fast logins' | 'as installed'} mode of Dovecot @returns {Promise<Server>} */
export async function startPeer(bench, name, mode = 'best') {
  const { site, tools } = bench;
  const spool = site.spool(name);
  if (name === 'Dovecot') return startDovecot(site, spool, mode);
  const program = peerProgram(name);
  const argv = name === 'Mailutils' ? [program, '--inetd'] : [program];
  const server = await start(site, name, spool, [tools.inetd, 'nowait', ...argv]);
  return { ...server, forget: () => {} };
}

async function startDovecot(site, spool, mode) {
  const port = await freePort();
  const dir = site.directory('dovecot');
  const own = site.directory('dovecot', `${port}`);
  site.directory('dovecot', `${port}`, 'state');
  const conf = join(own, 'dovecot.conf');
  writeFileSync(conf, dovecotConf(own, dir, port, mode));
  execFileSync('chown', ['62001:8', site.directory('dovecot', 'mail'), site.directory('dovecot', 'index')]);
  const server = await start(site, 'Dovecot', spool, [peerProgram('Dovecot'), '-F', '-c', conf], port);
  const forget = () => {
    execFileSync('find', [join(dir, 'index'), '-mindepth', '1', '-delete']);
  };
  return { ...server, forget };
}

/** At its best: login processes that serve many connections, and mail processes that are used again. */
function dovecotConf(own, dir, port, mode) {
  return `base_dir = ${own}/run
state_dir = ${own}/state
protocols = pop3
listen = 127.0.0.1
log_path = ${own}/log
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
mail_max_userip_connections = 1000
default_process_limit = 2000
default_client_limit = 20000
default_vsz_limit = 4G
default_internal_user = dovecot
default_internal_group = dovecot
default_login_user = dovenull
first_valid_uid = 1000
first_valid_gid = 1
mail_location = mbox:${dir}/mail:INBOX=/var/mail/%u:INDEX=${dir}/index/%u
mail_privileged_group = mail
mbox_read_locks = fcntl
mbox_write_locks = dotlock fcntl
passdb {
  driver = passwd-file
  args = scheme=CRYPT username_format=%u /etc/dovecot-users
}
userdb {
  driver = passwd-file
  args = username_format=%u /etc/dovecot-users
}
service pop3-login {
  chroot =
  ${mode === 'as installed' ? '' : 'service_count = 0\n  process_min_avail = 2'}
  inet_listener pop3 {
    port = ${port}
  }
}
service pop3 {
  ${mode === 'best' ? 'service_count = 1000\n  process_min_avail = 2' : ''}
}
service stats {
  chroot =
}
service anvil {
  chroot =
}
`;
}

/**
 * What answers as a session does, and has none: in Node.js, the limit of those in Node.js; and with the system calls
 * that the promises take, in Node.js and in C, the limit of those that keep them.
 *
 * @param {(limit: string) => boolean} which of them
 * @returns {Promise<(Server & { limit: string })[]>}
 */
export async function startLimits({ site, tools }, which = () => true) {
  const started = [];
  const node = [process.execPath, new URL('./fixed-replies.mjs', import.meta.url).pathname];
  const kinds = [
    { limit: 'fixed replies', command: node },
    { limit: 'promised calls in Node.js', command: node, calls: true },
    { limit: 'promised calls in C', command: [tools.calls], calls: true },
  ];
  try {
    for (const { limit, command, calls } of kinds.filter(({ limit }) => which(limit))) {
      const spool = site.spool(calls ? limit.replaceAll(' ', '-') : 'ours');
      const more = calls ? [spool, site.users, site.directory('calls', limit)] : [];
      started.push({ ...(await start(site, OURS, spool, [...command, ...more])), limit });
    }
  } catch (error) {
    await Promise.all(started.map(server => server.stop()));
    throw error;
  }
  return started;
}

/** All that run, when the benchmark is interrupted. */
export function killServers() {
  for (const child of children) child.kill('SIGKILL');
}

async function start(site, name, spool, command, port) {
  const inside = site.isRoot
    ? ['unshare', '--mount', '--propagation', 'private', ENTER, site.etc, spool, name === OURS ? '' : PEERS]
    : [];
  const limits = ['sh', '-c', `${RAISE_LIMIT}; exec "$@"`, 'sh'];
  const [file, ...argv] = [...limits, ...inside, ...command];
  const log = site.log(name);
  const stdio = ['ignore', 'pipe', openSync(log, 'a')];
  const child = spawn(file, argv, { stdio, env: { PATH: process.env.PATH } });
  children.add(child);
  const exited = once(child, 'exit').finally(() => children.delete(child));
  const stop = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(timer);
  };
  const lines = createInterface({ input: child.stdout });
  const ready = port === undefined ? firstLine(lines, exited) : accepts(port).then(() => port);
  const found = await ready.catch(error => {
    throw new Error(`${name} does not start: ${error.message}: ${readFileSync(log, 'utf8').slice(-500)}`);
  });
  return { name, port: found, pid: child.pid, spool, stop };
}

async function firstLine(lines, exited) {
  const [line] = await Promise.race([once(lines, 'line'), exited]);
  const port = /127\.0\.0\.1:(\d+)/.exec(String(line))?.[1];
  if (port === undefined) throw new Error(`it said ${line}`);
  return Number(port);
}

/** Until it greets, 10 seconds at most. */
async function accepts(port) {
  for (let tries = 0; tries < 100; tries++) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'data', { signal: AbortSignal.timeout(2000) });
      return;
    } catch {
      await new Promise(resolve => setTimeout(resolve, 100)); // Not yet.
    } finally {
      socket.destroy();
    }
  }
  throw new Error('no greeting');
}

/** A port of 127.0.0.1 that nothing listens on now. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise(resolve => server.close(resolve));
  return port;
}
