/**
 * TLS of the program as it is started: `serve`, inetd, systemd, the library; certificates that are renewed while
 * it runs; and what it says about those that cannot be used.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createServer } from '../../lib/index.js';
import type { CertificateFiles } from '../../lib/tls/pem-files.js';
import { startDemo } from '../support/demo.js';
import { messages } from '../support/mailbox.js';
import { Nowait } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, launch, type Running, run } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { flagsFor, SERVED_BY, type ServePlaces, servePlaces } from '../support/serving.js';
import { filesOf, install, pairOf, shownBy, tlsConnect } from '../support/tls/certificates.js';

const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const USER = 'alice';
/** In ms: a pair of which one is replaced later than that after the other is told of. */
const PATIENCE = 2000;

/** A directory of certificates that whoever serves can read. */
function certificates(root: string): CertificateFiles {
  const dir = join(root, 'tls');
  mkdirSync(dir, { mode: 0o700 });
  const files = { cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') };
  install('ec', files);
  for (const path of [dir, files.cert, files.key]) chownSync(path, SERVED_BY.uid, SERVED_BY.gid);
  return files;
}

const flagsOf = ({ cert, key }: CertificateFiles) => ['--tls-cert', cert, '--tls-key', key];

interface Served {
  readonly places: ServePlaces;
  readonly files: CertificateFiles;
  readonly server: Running;
  readonly port: number;
  readonly tls: number;
}

async function serve(...flags: string[]): Promise<Served> {
  const places = servePlaces({ [USER]: messages(3).join('') });
  const files = certificates(places.root);
  const args = [...flagsFor(places), '--tls-listen', '127.0.0.1:0', ...flagsOf(files), ...flags];
  const server = launch(args, IS_ROOT ? SERVED_BY : {});
  const [tls] = await server.tlsPorts();
  return { places, files, server, port: await server.port(), tls: tls! };
}

async function greeted(tls: number): Promise<Pop3Client> {
  const client = Pop3Client.over(await tlsConnect({ port: tls }));
  expect(await client.line()).toMatch(/^\+OK /);
  return client;
}

async function deletes(client: Pop3Client, n: number): Promise<void> {
  await client.logIn(USER, passwordOf(USER));
  await client.ok(`DELE ${n}`);
  await client.ok('QUIT');
  expect(await client.rest()).toBe('');
}

const shown = async (tls: number) => shownBy(await tlsConnect({ port: tls }));

describe('serve', () => {
  test('TLS on its own address, STLS on the other', async () => {
    const { places, port, tls, server } = await serve();
    await deletes(await greeted(tls), 1);
    await deletes(await (await Pop3Client.greeted(port)).stls(), 1);
    expect(places.content(USER)).toBe(messages(3)[2]);
    const logins = () => server.stderr().match(/ login user=alice .* tls=TLSv1\.3$/gm) ?? [];
    await server.until(() => logins().length >= 2);
    expect(logins()).toHaveLength(2);
    expect(await server.stop()).toBe(0);
  });

  test('with --tls-listen alone, there is no POP3 without TLS', async () => {
    const places = servePlaces({ [USER]: '' });
    const args = flagsFor(places).filter((_, i) => i !== 1 && i !== 2);
    const flags = ['--tls-listen', '127.0.0.1:0', ...flagsOf(certificates(places.root))];
    const server = launch([...args, ...flags], IS_ROOT ? SERVED_BY : {});
    const [tls] = await server.tlsPorts();
    await greeted(tls!);
    expect(server.stdout()).toMatch(/^mbox-pop3d ready, TLS on 127\.0\.0\.1:\d+\n$/);
  });

  test('old versions on an address of their own', async () => {
    const { server } = await serve('--tls-listen', '127.0.0.1:0/1.0');
    const [modern, ancient] = await server.tlsPorts();
    for (const version of ['TLSv1', 'TLSv1.1'] as const) {
      const only = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' };
      expect((await tlsConnect({ port: ancient! }, only)).getProtocol()).toBe(version);
      await expect(tlsConnect({ port: modern! }, only)).rejects.toThrow();
    }
    expect((await tlsConnect({ port: ancient! })).getProtocol()).toBe('TLSv1.3');
  });

  test.each<[string, (files: CertificateFiles) => string[], number, RegExp]>([
    ['no certificate', () => ['--tls-listen', '127.0.0.1:0'], 64, /: --tls-cert is missing\n$/],
    ['a key too many', files => [...flagsOf(files), '--tls-key', files.key], 64, /1 of --tls-cert, but 2 of/],
    ['--tls', files => [...flagsOf(files), '--tls'], 64, /serve has --tls-listen\n$/],
    ['no such version', files => [...flagsOf(files), '--tls-min', '1'], 64, /--tls-min: no version of TLS/],
    [
      'no such file',
      files => flagsOf({ ...files, cert: '/none' }),
      66,
      /certificate \/none: no such file\n$/,
    ],
    ['the key of another', f => flagsOf({ ...f, key: filesOf('rsa').key }), 78, /is not that of certificate/],
  ])('%s: one line, exit code', async (_, flags, code, message) => {
    const places = servePlaces({});
    const files = certificates(places.root);
    const result = await run([...flagsFor(places), ...flags(files)]);
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr.split('\n').filter(line => line.startsWith('mbox-pop3d: '))).toHaveLength(1);
    expect(result.stderr).toMatch(message);
  });
});

describe('a renewed certificate', () => {
  test('is noticed, through symbolic links, though certificate and key are replaced one after the other', async () => {
    const places = servePlaces({});
    const { cert, key } = certificates(places.root);
    const dir = join(places.root, 'tls');
    // As certbot does: live/*.pem are links to archive/*N.pem, replaced one by one.
    const [live, archive] = [join(places.root, 'live'), join(places.root, 'archive')];
    for (const made of [live, archive]) mkdirSync(made);
    renameSync(cert, join(archive, 'cert1.pem'));
    renameSync(key, join(archive, 'key1.pem'));
    copyFileSync(filesOf('renewed').cert, join(archive, 'cert2.pem'));
    copyFileSync(filesOf('renewed').key, join(archive, 'key2.pem'));
    for (const name of ['cert2.pem', 'key2.pem'])
      chownSync(join(archive, name), SERVED_BY.uid, SERVED_BY.gid);
    for (const name of ['cert', 'key']) symlinkSync(`../archive/${name}1.pem`, join(live, `${name}.pem`));
    // And a link of the sysadmin's to those.
    for (const name of ['cert', 'key']) symlinkSync(join(live, `${name}.pem`), join(dir, `${name}.pem`));
    const args = [...flagsFor(places), '--tls-listen', '127.0.0.1:0', ...flagsOf({ cert, key })];
    const server = launch(args, IS_ROOT ? SERVED_BY : {});
    const [tls] = await server.tlsPorts();
    expect(await shown(tls!)).toBe('ec');
    const replace = (name: string) => {
      symlinkSync(`../archive/${name}2.pem`, join(live, 'new'));
      renameSync(join(live, 'new'), join(live, `${name}.pem`));
    };
    const begun = performance.now();
    replace('cert');
    await sleep(500);
    expect(await shown(tls!)).toBe('ec');
    replace('key');
    const inTime = performance.now() - begun < PATIENCE;
    await server.logged(/ certificate cert=\S+ names=localhost key=ec .*\n(.*\n)*.* certificate cert=/);
    expect(await shown(tls!)).toBe('renewed');
    if (inTime) expect(server.stderr()).not.toContain('certificate-kept');
  });

  test('is read on SIGHUP, and one that cannot be used leaves the old one', async () => {
    const { server, tls, files } = await serve();
    const client = await greeted(tls);
    server.child.kill('SIGHUP');
    await server.logged(/ reloading cause=SIGHUP\n.* certificates-unchanged\n/);
    copyFileSync(filesOf('rsa').key, files.key);
    server.child.kill('SIGHUP');
    await server.logged(
      / error - certificate-kept reason="private key \S+ is not that of certificate \S+"\n/,
    );
    expect(await shown(tls)).toBe('ec');
    writeFileSync(files.cert, 'garbage');
    server.child.kill('SIGHUP');
    await server.logged(/ error - certificate-kept reason="certificate \S+: not in PEM form"\n/);
    expect(await shown(tls)).toBe('ec');
    install('renewed', files);
    server.child.kill('SIGHUP');
    await server.logged(/ certificate cert=\S+ names=localhost key=ec .*\n(.*\n)*.* certificate cert=/);
    expect(await shown(tls)).toBe('renewed');
    await deletes(client, 1);
    expect(await server.stop()).toBe(0);
  });

  if (!IS_ROOT) console.warn('\n*** SKIPPED: a key of root, which only root can try ***\n');
  test.skipIf(!IS_ROOT)('of a key only root can read: said at start, and when it is renewed', async () => {
    const places = servePlaces({ [USER]: messages(3).join('') });
    const files = certificates(places.root);
    chownSync(files.key, 0, 0);
    chmodSync(files.key, 0o600);
    const args = [...flagsFor(places), '--tls-listen', '127.0.0.1:0', ...flagsOf(files)];
    const server = launch([...args, '--user', 'nobody', '--group', 'nogroup']);
    const [tls] = await server.tlsPorts();
    await deletes(await greeted(tls!), 1);
    await server.logged(/ warn - self-check trouble="\S+\/key\.pem cannot be read any more/);
    install('renewed', files);
    server.child.kill('SIGHUP');
    await server.logged(/ error - certificate-kept reason="private key \S+\/key\.pem: permission denied"\n/);
    expect(await shown(tls!)).toBe('ec');
  });
});

describe('inetd nowait', () => {
  async function door(...flags: string[]): Promise<Nowait> {
    const places = servePlaces({ [USER]: messages(3).join('') });
    chmodSync(places.root, 0o755);
    const { spool, users, state } = places;
    const given = [`--spool=${spool}`, `--users=${users}`, `--state-dir=${state}`];
    const files = filesOf('ec');
    return Nowait.start([process.execPath, PROGRAM, 'inetd', ...given, ...flagsOf(files), ...flags]);
  }

  test('--tls: from the first octet', async () => {
    const { port, exits } = await bound(door('--tls'));
    await deletes(await greeted(port), 1);
    expect(await exits()).toEqual([0]);
  });

  test('STLS', async () => {
    const { port, exits } = await bound(door());
    const client = await Pop3Client.greeted(port);
    expect(await client.listing('CAPA')).toContain('STLS');
    await deletes(await client.stls(), 1);
    expect(await exits()).toEqual([0]);
  });

  test('a key of another: STLS is refused, the session goes on; with --tls nobody is served', async () => {
    const wrong = ['--tls-cert', filesOf('ec').cert, '--tls-key', filesOf('rsa').key];
    const { port } = await bound(door(...wrong));
    const client = await Pop3Client.greeted(port);
    expect(await client.ask('STLS')).toBe('-ERR [SYS/PERM] TLS is not set up');
    await client.ok('NOOP').catch(() => {});
    const closed = await bound(door('--tls', ...wrong));
    await expect(tlsConnect({ port: closed.port })).rejects.toThrow();
    expect(await closed.exits()).toEqual([78]);
  });

  test('a client that is not of TLS, garbage: the process ends in order', async () => {
    const { port, exits } = await bound(door('--tls'));
    const client = await Pop3Client.connect(port);
    client.send('USER alice\r\n');
    expect(await client.rest()).not.toMatch(/\+OK/);
    expect(await exits()).toEqual([0]);
  });
});

async function bound(door: Promise<Nowait>) {
  const started = await door;
  return { port: started.port, exits: () => started.exits() };
}

test('systemd: sockets told apart by their names', async () => {
  const places = servePlaces({ [USER]: messages(3).join('') });
  const servers = [createTcpServer(), createTcpServer()];
  const ports: number[] = [];
  const fds: number[] = [];
  for (const server of servers) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    ports.push(address.port);
    fds.push((server as unknown as { _handle: { fd: number } })._handle.fd);
  }
  const start = 'export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=pop3:pop3s; exec "$@"';
  const flags = [`--spool=${places.spool}`, `--users=${places.users}`, `--state-dir=${places.state}`];
  const identity = IS_ROOT ? ['--user=nobody', '--group=nogroup'] : [];
  const child = spawn(
    'sh',
    ['-c', start, 'sh', process.execPath, PROGRAM, ...flags, ...identity, ...flagsOf(filesOf('ec'))],
    { stdio: ['ignore', 'pipe', 'pipe', ...fds], env: { PATH: process.env.PATH } },
  );
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
    for (const server of servers) server.close();
  });
  // This process has the sockets, too, and would accept.
  for (const server of servers) server.close();
  while (!stderr.includes(' ready ')) await once(child.stderr!, 'data');
  const plain = await Pop3Client.greeted(ports[0]!);
  expect(await plain.listing('CAPA')).toContain('STLS');
  await deletes(await greeted(ports[1]!), 1);
  // With a client still there, and long before the time of --idle-exit.
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
  await plain.rest();
});

test('the library: STLS on its port, TLS on another; a wrong key is an error, and leaves nothing', async () => {
  const { cert, key } = pairOf('ec');
  const users = { [USER]: passwordOf(USER) };
  const server = await createServer({ users, tls: { cert: cert.toString(), key } });
  onTestFinished(() => server.close());
  writeFileSync(join(server.spool, USER), messages(2).join(''));
  const logins: unknown[] = [];
  server.on('login', ({ tls }) => logins.push(tls));
  await deletes(await (await Pop3Client.greeted(server.port)).stls(), 1);
  await deletes(await greeted(server.tlsPort!), 1);
  expect(readFileSync(join(server.spool, USER), 'latin1')).toBe('');
  expect(logins).toEqual(['TLSv1.3', 'TLSv1.3']);
  const several = await createServer({ users, tls: [pairOf('ec'), pairOf('other')] });
  onTestFinished(() => several.close());
  const other = await tlsConnect({ port: several.tlsPort! }, { servername: 'pop.example.net' });
  expect(shownBy(other)).toBe('other');
  await expect(createServer({ users, tls: { cert, key: pairOf('rsa').key } })).rejects.toThrow(
    'private key of tls is not that of certificate of tls',
  );
});

test('demo', async () => {
  const { demo } = await startDemo(['--tls-listen', '127.0.0.1:0', ...flagsOf(filesOf('ec'))]);
  const [tls] = await demo.tlsPorts();
  const client = await greeted(tls!);
  await client.logIn('alice', 'secret-alice');
  expect(await demo.stop()).toBe(0);
});
