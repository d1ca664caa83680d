/**
 * `mbox-pop3d demo`: serves a scratch copy of the example mailboxes, so that anybody can try a client
 * on the real server within a minute. The examples themselves are never touched. As root it gives the
 * copy to `nobody` and becomes it, like any server should.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isUserName } from '../auth/user-name.js';
import { UsersFile } from '../auth/users-file.js';
import { type RawOptions, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import { TcpServer } from '../server/tcp.js';
import { createServices, effectiveUid, kernelFor } from '../services.js';
import { runUntilStopped, StopRequest } from './foreground.js';
import { packageFile } from './package.js';
import { listen } from './serve.js';
import { stderrLog, writeIfPossible } from './stderr-log.js';
import { ServerTls } from './tls.js';

/** The fixtures' passwords: by this rule, so that the hashes can be shown next to what they hide. */
const passwordOf = (user: string) => `secret-${user}`;

export async function demo(raw: RawOptions): Promise<void> {
  const request = new StopRequest();
  const scratch = mkdtempSync(join(tmpdir(), 'mbox-pop3d-demo-'));
  try {
    const paths = {
      spool: join(scratch, 'spool'),
      users: join(scratch, 'users'),
      'state-dir': join(scratch, 'state'),
    };
    const settings = settingsFrom({ ...raw, ...paths });
    const log = stderrLog(settings.logLevel);
    if (settings.kernel === 'wasm') await kernelFor(settings.kernel, log);
    copyExamples(paths.spool, paths.users);
    mkdirSync(settings.runtimeDir, { recursive: true, mode: 0o700 });
    const { host, degraded } = await loadHost();
    if (degraded !== undefined) log.write('warn', '-', 'degraded', { reason: degraded });
    const root = effectiveUid() === 0;
    if (root) giveAway(scratch, nobody(host).uid, nobody(host).gid);

    const users = await UsersFile.open({ path: paths.users, host, log, watch: true });
    const services = createServices(settings, { host, log, authenticator: users, ownerOf: effectiveUid });
    const server = new TcpServer({ ...settings, services, log });
    const tls = await ServerTls.open(settings, log);
    const where = await listen(server, settings, tls);
    if (root) {
      await services.warmUp();
      host.becomeUser(nobody(host), nobody(host).gid);
    }
    server.start();
    announce(where, paths.spool, userNames(paths.users));
    await runUntilStopped(server, log, request);
    await users.close();
    await tls?.close();
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Copies mailboxes and users file; the sidecars that describe the mailboxes stay behind. */
function copyExamples(spool: string, users: string): void {
  const examples = packageFile('spool-fixtures');
  mkdirSync(spool, { mode: 0o700 });
  for (const name of readdirSync(examples)) {
    if (name === 'users' || name.endsWith('.json') || !isUserName(name)) continue;
    copyFileSync(join(examples, name), join(spool, name));
    chmodSync(join(spool, name), 0o600);
  }
  copyFileSync(join(examples, 'users'), users);
  chmodSync(users, 0o600);
}

function nobody(host: Host) {
  const user = host.findUser('nobody');
  if (user === undefined) {
    throw new UsageError('started as root, and there is no user "nobody" to become', EX.NOUSER);
  }
  return user;
}

function giveAway(path: string, uid: number, gid: number): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) giveAway(inner, uid, gid);
    else chownSync(inner, uid, gid);
  }
  chownSync(path, uid, gid);
}

function userNames(usersPath: string): string[] {
  const lines = readFileSync(usersPath, 'utf8').split('\n');
  return lines.map(line => line.split(':', 1)[0]!).filter(isUserName);
}

/** @param where as `listen` gave it: ` on 127.0.0.1:1110, TLS on 127.0.0.1:9950` */
function announce(where: string, spool: string, users: readonly string[]): void {
  const address = /\S+:\d+/.exec(where)![0];
  const [scheme, trust] = where.startsWith(' on ') ? ['pop3', ''] : ['pop3s', '-k '];
  const first = users[0]!;
  writeIfPossible(
    process.stdout,
    [
      `mbox-pop3d demo, ready${where}, serving ${spool}`,
      '',
      `  users:     ${users.join(' ')}`,
      `  password:  secret-NAME, so ${passwordOf(first)} for ${first}`,
      '',
      'Try, in another terminal:',
      '',
      `  curl ${trust}-u ${first}:${passwordOf(first)} ${scheme}://${address}/      list the messages`,
      `  curl ${trust}-u ${first}:${passwordOf(first)} ${scheme}://${address}/1     read the first`,
      '',
      'Ctrl-C ends it and removes the copy.',
      '',
    ].join('\n'),
  );
}
