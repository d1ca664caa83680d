/**
 * TLS from the first octet and by STLS, of the server in this process: what is offered when, what starts
 * afresh, what a failed handshake leaves, and that nothing said before TLS has any effect under it.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { TlsOffer } from '../../lib/server/session.js';
import { TcpServer } from '../../lib/server/tcp.js';
import { Certificates } from '../../lib/tls/certificates.js';
import { LIMIT } from '../../lib/tls/inbound.js';
import { MemoryWorld } from '../support/memory-maildrop.js';
import { Pop3Client } from '../support/pop3-client.js';
import { type CertificateName, pairOf, shownBy, tlsConnect } from '../support/tls/certificates.js';
import { Tap } from '../support/tls/tap.js';

interface Server {
  readonly world: MemoryWorld;
  readonly tcp: TcpServer;
  readonly certificates: Certificates;
  /** POP3 with STLS, TLS from the first octet, POP3 without TLS. */
  readonly port: number;
  readonly tls: number;
  readonly plain: number;
}

async function start(
  options: {
    handshakeTimeout?: number;
    names?: CertificateName[];
    clock?: () => number;
  } & ConstructorParameters<typeof MemoryWorld>[0] = {},
): Promise<Server> {
  const { handshakeTimeout = 30_000, names = ['ec', 'rsa', 'other'], clock, ...settings } = options;
  const world = new MemoryWorld(settings);
  const { services } = world;
  const certificates = new Certificates({
    pairs: names.map(pairOf),
    minVersions: ['TLSv1.2'],
    handshakeTimeout,
    ...(clock && { clock }),
    log: services.log,
  });
  const offer = (implicit: boolean): TlsOffer => ({
    implicit,
    ready: async () => {},
    start: stream => certificates.start(stream, 'TLSv1.2'),
  });
  const tcp = new TcpServer({
    services,
    log: services.log,
    maxConnections: 999,
    maxConnectionsPerAddress: 999,
  });
  const loopback = { host: '127.0.0.1', port: 0 };
  const bound = await tcp.listen([
    { ...loopback, tls: offer(false) },
    { ...loopback, tls: offer(true) },
    loopback,
  ]);
  tcp.start();
  onTestFinished(() => tcp.close(0));
  const [port, tls, plain] = bound.map(address => address.port);
  return { world, tcp, certificates, port: port!, tls: tls!, plain: plain! };
}

/** A client on the port that is TLS from the first octet, greeted. */
async function implicit({ tls }: Server): Promise<Pop3Client> {
  const client = Pop3Client.over(await tlsConnect({ port: tls }));
  expect(await client.line()).toMatch(/^\+OK /);
  return client;
}

/** A client after STLS. */
async function upgraded({ port }: Server): Promise<Pop3Client> {
  return (await Pop3Client.greeted(port)).stls();
}

/** Sends octets as they are, and gives what came until the end. */
async function raw(port: number, ...writes: (string | Buffer)[]): Promise<{ socket: Socket; all: string }> {
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => {
    socket.destroy();
  });
  socket.on('error', () => {});
  let all = '';
  socket.setEncoding('latin1').on('data', text => {
    all += text;
  });
  socket.setNoDelay(true);
  await once(socket, 'data');
  for (const write of writes) {
    socket.write(write);
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  await closed(socket);
  return { socket, all };
}

/** Its end, by whatever error. */
async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise(resolve => socket.once('close', resolve));
}

const failures = ({ world }: Server) => world.logged.filter(line => line.includes(' tls-failed reason='));

/** Looks again and again. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise(resolve => setTimeout(resolve, 2));
}

describe.each([
  ['TLS from the first octet', implicit],
  ['STLS', upgraded],
])('%s', (_, open) => {
  test('a whole session, with a message, a deletion, and an end that is announced', async () => {
    const server = await start();
    const client = await open(server);
    await client.logIn('mrose', 'tanstaaf');
    const { content } = await client.multiline('RETR 1');
    expect(content.toString('latin1')).toBe(server.world.messagesOf('mrose')[0]);
    await client.ok('DELE 1');
    expect(await client.ok('QUIT')).toBe('+OK mbox-pop3d signing off (1 message left)');
    // `end` comes of close_notify, or of FIN; a client that saw neither would have an error.
    expect(await client.rest()).toBe('');
    expect(server.world.messagesOf('mrose')).toHaveLength(1);
    expect(server.world.logged).toContainEqual(
      expect.stringMatching(/^info 127\.0\.0\.1 login user=mrose .* tls=TLSv1\.3$/),
    );
  });

  test('a complete QUIT without close_notify is a QUIT; the start of one is nothing', async () => {
    const server = await start();
    for (const [line, left] of [
      ['QUIT', 2],
      ['QUIT\r\n', 1],
    ] as const) {
      const client = await open(server);
      await client.logIn('mrose', 'tanstaaf');
      await client.ok('DELE 1');
      const logouts = () => server.world.logged.filter(text => text.includes(' logout ')).length;
      const before = logouts();
      await new Promise(resolve => client.socket.write(line, resolve));
      // No alert says that this is the end.
      client.socket.destroy();
      await until(() => logouts() > before);
      expect(server.world.messagesOf('mrose')).toHaveLength(left);
    }
  });
});

test('capabilities: exact for each transport and state', async () => {
  const server = await start();
  const always = ['AUTH-RESP-CODE', 'EXPIRE NEVER', 'IMPLEMENTATION mbox-pop3d', 'PIPELINING', 'RESP-CODES'];
  const lines = async (client: Pop3Client) =>
    (await client.listing('CAPA')).filter(line => !line.startsWith('SASL ')).sort();
  const both = [...always, 'TOP', 'UIDL', 'USER'];
  const clients = {
    plain: await Pop3Client.greeted(server.plain),
    stls: await Pop3Client.greeted(server.port),
    upgraded: await upgraded(server),
    implicit: await implicit(server),
  };
  for (const [name, client] of Object.entries(clients)) {
    const expected = name === 'stls' ? [...both, 'STLS'].sort() : both;
    expect(await lines(client), `${name} before login`).toEqual(expected);
    await client.logIn('dots', 'secret');
    // RFC 2595 §4: only where it is permitted.
    expect(await lines(client), `${name} after login`).toEqual(both);
    await client.ok('QUIT');
  }
});

test('STLS is refused under TLS, after login, with an argument, and where there is no certificate', async () => {
  const server = await start();
  for (const client of [await upgraded(server), await implicit(server)]) {
    expect(await client.ask('STLS')).toBe('-ERR TLS is active already');
  }
  const client = await Pop3Client.greeted(server.port);
  expect(await client.ask('STLS now')).toMatch(/^-ERR /);
  await client.logIn('mrose', 'tanstaaf');
  expect(await client.ask('STLS')).toMatch(/^-ERR unknown command/);
  await client.ok('NOOP');
  expect(await (await Pop3Client.greeted(server.plain)).ask('STLS')).toMatch(/^-ERR unknown command/);
  expect(failures(server)).toEqual([]);
});

test('STLS is refused while no TLS can come of it, and the session goes on', async () => {
  const world = new MemoryWorld();
  const { Unavailable } = await import('../../lib/errors.js');
  const tls: TlsOffer = {
    implicit: false,
    ready: () => Promise.reject(new Unavailable('SYS/PERM', 'TLS is not set up')),
    start: () => Promise.reject(new Error('never asked')),
  };
  const options = { services: world.services, log: world.services.log };
  const tcp = new TcpServer({ ...options, maxConnections: 9, maxConnectionsPerAddress: 9 });
  onTestFinished(() => tcp.close(0));
  const [bound] = await tcp.listen([{ host: '127.0.0.1', port: 0, tls }]);
  tcp.start();
  const client = await Pop3Client.greeted(bound!.port);
  expect(await client.ask('STLS')).toBe('-ERR [SYS/PERM] TLS is not set up');
  await client.logIn('mrose', 'tanstaaf');
});

test('C60: what was said before STLS is forgotten', async () => {
  const server = await start();
  const before = await Pop3Client.greeted(server.port);
  await before.ok('USER mrose');
  const client = await before.stls();
  expect(await client.ask('PASS tanstaaf')).toBe('-ERR USER first');
  await client.logIn('mrose', 'tanstaaf');
  expect(server.world.logins).toEqual(['mrose']);
});

describe('C59: what is sent behind STLS is never executed', () => {
  const INJECTED = ['USER mrose\r\nPASS tanstaaf\r\nDELE 1\r\nQUIT\r\n', 'CAPA\r\n', 'x', '\r\n', 'QUIT\r\n'];

  test.each(INJECTED)('%j in the same packet: one line, and the end', async injected => {
    const server = await start();
    const { all } = await raw(server.port, `STLS\r\n${injected}`);
    expect(all).toMatch(/^\+OK [^\n]*\r\n-ERR nothing may follow STLS before TLS is up\r\n$/);
    expect(server.world.logins).toEqual([]);
    expect(server.world.logged.at(-1)).toMatch(/^info 127\.0\.0\.1 no-login reason=stls-injection /);
  });

  test('cut anywhere into two writes: closed, whatever TLS the client goes on with', async () => {
    const server = await start();
    const text = 'STLS\r\nUSER mrose\r\nPASS tanstaaf\r\n';
    const runs = Array.from({ length: text.length - 1 }, (_, i) => i + 1).map(async at => {
      const { all } = await raw(server.port, text.slice(0, at), text.slice(at));
      // After its greeting, one answer in clear text; all else would have been for a handshake.
      const [, answer = '', ...more] = all.split('\r\n');
      expect(answer, `cut at ${at}`).toMatch(/^(-ERR nothing may follow|\+OK begin TLS negotiation)/);
      expect(more.join(''), `cut at ${at}`).not.toMatch(/\+OK|-ERR/);
    });
    await Promise.all(runs);
    expect(server.world.logins).toEqual([]);
    await server.tcp.close(0);
    const ends = server.world.logged.filter(line => /stls-injection|tls-failed reason=/.test(line));
    const more = server.world.logged.map(line =>
      Number(/ refused-more .*connections=(\d+)/.exec(line)?.[1] ?? 0),
    );
    expect(more.reduce((sum, one) => sum + one, ends.length)).toBe(text.length - 1);
  });

  test('a good handshake that comes with the injection is not finished either', async () => {
    const server = await start();
    const socket = connect(server.port, '127.0.0.1');
    await once(socket, 'data');
    socket.write('STLS\r\nUSER mrose\r\n');
    await expect(tlsConnect({ socket })).rejects.toThrow();
    expect(server.world.logins).toEqual([]);
  });

  test('a handshake in the packet of STLS is refused: its sender has not waited', async () => {
    const server = await start();
    const hello = await clientHello();
    const { all } = await raw(server.port, Buffer.concat([Buffer.from('STLS\r\n'), hello]));
    expect(all).toContain('-ERR nothing may follow STLS');
  });
});

/** So many octets of a ClientHello that says it has 128 KiB, in whole records of up to 10000. */
function longHello(total: number): Buffer {
  const octets = Buffer.alloc(total);
  for (let at = 0; at < total; at += 10_005) {
    const length = Math.min(10_000, total - at - 5);
    octets.set([22, 3, 1, length >> 8, length & 255], at);
  }
  octets.set([1, 1, 0xff, 0xff, 3, 3], 5);
  return octets;
}

/** The first octets of a client that wants TLS. */
async function clientHello(): Promise<Buffer> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  void tlsConnect({ port: address.port }).catch(() => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  server.close();
  return hello;
}

describe('C62: a handshake that fails costs its connection, one line of the log, and nothing else', () => {
  test.each([
    ['HTTP', 'GET / HTTP/1.1\r\n\r\n', 'http request'],
    ['POP3', 'USER mrose\r\n', 'wrong version number'],
    ['zeros', '\0'.repeat(600), 'wrong version number'],
    ['an empty record', '\x16\x03\x01\x00\x00', undefined],
    ['an alert', '\x15\x03\x01\x00\x02\x02\x28', undefined],
    ['SSL 2', '\x80\x2e\x01\x00\x02', undefined],
    ['a record that is too long', `\x16\x03\x01\xff\xff${'x'.repeat(70_000)}`, undefined],
  ])('%s', async (_, octets, reason) => {
    const server = await start();
    const socket = connect(server.tls, '127.0.0.1');
    socket.on('error', () => {}).resume();
    socket.write(Buffer.from(octets, 'latin1'));
    socket.end();
    await closed(socket);
    await until(() => failures(server).length > 0);
    expect(failures(server)).toEqual([
      expect.stringMatching(
        reason === undefined
          ? /^info 127\.0\.0\.1 tls-failed reason=/
          : new RegExp(`^info 127\\.0\\.0\\.1 tls-failed reason="${reason}"`),
      ),
    ]);
    const client = await implicit(server);
    await client.logIn('mrose', 'tanstaaf');
  });

  test.each(['end', 'destroy', 'resetAndDestroy'] as const)(
    'the client leaves by %s at any octet',
    async how => {
      const server = await start();
      const hello = await clientHello();
      const cuts = [0, 1, 5, 6, 40, hello.length - 1, hello.length];
      for (const [i, at] of cuts.entries()) {
        const socket = connect({ port: server.tls, host: '127.0.0.1', localAddress: `127.0.0.${i + 1}` });
        socket.on('error', () => {}).resume();
        await once(socket, 'connect');
        await new Promise(resolve => socket.write(hello.subarray(0, at), resolve));
        socket[how]();
      }
      await until(() => failures(server).length === cuts.length && server.tcp.connections === 0);
      expect(server.world.logged.filter(line => line.startsWith('error'))).toEqual([]);
    },
  );

  test('one that stops is cut after its time, one that logs in has not all of it again', async () => {
    const server = await start({ handshakeTimeout: 50 });
    const hello = await clientHello();
    const stalled = await Promise.all(
      [0, 5, hello.length].map(async (at, i) => {
        const socket = connect({ port: server.tls, host: '127.0.0.1', localAddress: `127.0.0.${i + 1}` });
        socket.on('error', () => {}).resume();
        socket.write(hello.subarray(0, at));
        await closed(socket);
      }),
    );
    expect(stalled).toHaveLength(3);
    expect(failures(server)).toHaveLength(3);
    for (const line of failures(server))
      expect(line).toMatch(/^info 127\.0\.0\.[123] tls-failed reason=timeout$/);

    // Long enough to have upgraded in, on any host.
    const slow = await start({ loginTimeout: 2000 });
    const silent = connect({ port: slow.tls, host: '127.0.0.1', localAddress: '127.0.0.2' });
    silent.on('error', () => {});
    await Promise.all([closed(silent.resume()), upgraded(slow).then(client => client.rest())]);
    await until(() => slow.tcp.connections === 0);
    const ends = slow.world.logged.filter(line => !line.includes(' certificate '));
    expect(ends).toEqual(Array(2).fill(expect.stringMatching(/^info \S+ no-login reason=login-timeout /)));
  });

  test('one that is larger than any real one is cut, long before its time', async () => {
    const server = await start({ handshakeTimeout: 50_000 });
    for (const total of [100_000, LIMIT + 1, LIMIT, LIMIT - 1]) {
      const socket = connect(server.tls, '127.0.0.1');
      socket
        .on('error', () => {})
        .resume()
        .write(longHello(total));
      if (total > LIMIT) await closed(socket);
    }
    // Those that are long, but not too long, have time.
    await until(() => server.tcp.connections === 2);
    // The same of the same address is not said again at once.
    expect(failures(server)).toEqual(['info 127.0.0.1 tls-failed reason="too long"']);
    // Whoever connects now is served after what they have sent was read.
    await tlsConnect({ port: server.tls });
    expect(server.tcp.connections).toBe(3);
  });

  test('and so is one in a crowd, though nothing else happens', async () => {
    const server = await start();
    await Promise.all(Array.from({ length: 120 }, () => tlsConnect({ port: server.tls })));
    const tap = await Tap.to(server.tls);
    const socket = await tlsConnect({ socket: tap as unknown as Socket });
    const record = await tap.hold(() => socket.write(Buffer.alloc(LIMIT, 'A')));
    tap.send(record.subarray(0, LIMIT + 1));
    await closed(socket);
    await until(() => server.tcp.connections === 120);
    expect(server.world.logged.filter(line => line.includes('reason=flooded'))).toHaveLength(1);
  });

  test('a shutdown does not wait for one', async () => {
    const server = await start();
    const socket = connect(server.tls, '127.0.0.1').on('error', () => {});
    await once(socket, 'connect');
    await until(() => server.tcp.connections > 0);
    await server.tcp.close(30_000);
    expect(server.tcp.connections).toBe(0);
  });

  test('versions before 1.2 are refused', async () => {
    const server = await start();
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    await expect(tlsConnect({ port: server.tls }, old)).rejects.toMatchObject({
      code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
    });
    expect((await tlsConnect({ port: server.tls }, { maxVersion: 'TLSv1.2' })).getProtocol()).toBe('TLSv1.2');
  });
});

describe('names', () => {
  test.each([
    ['pop.example.net', 'other'],
    ['POP.Example.NET', 'other'],
    ['mail.example.com', 'other'],
    ['a.b.example.com', 'ec'],
    ['example.com', 'ec'],
    ['localhost', 'ec'],
    ['nobody.invalid', 'ec'],
    [`${'a'.repeat(63)}.${'b'.repeat(63)}`, 'ec'],
  ])('%s gets the certificate %s', async (servername, name) => {
    const server = await start({ names: ['ec', 'other'] });
    expect(shownBy(await tlsConnect({ port: server.tls }, { servername }))).toBe(name);
  });

  test('without a name, the first; by STLS as well', async () => {
    const server = await start({ names: ['other', 'ec'] });
    expect(shownBy(await tlsConnect({ port: server.tls }))).toBe('other');
    const client = await (await Pop3Client.greeted(server.port)).stls({ servername: 'localhost' });
    expect(shownBy(client.socket as Awaited<ReturnType<typeof tlsConnect>>)).toBe('ec');
  });

  test('two kinds of keys for one name: the client chooses', async () => {
    const server = await start();
    for (const [ciphers, name] of [
      ['ECDHE-RSA-AES128-GCM-SHA256', 'rsa'],
      ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ec'],
    ] as const) {
      const socket = await tlsConnect({ port: server.tls }, { ciphers, maxVersion: 'TLSv1.2' });
      expect(shownBy(socket)).toBe(name);
    }
  });
});

test('C64: ALPN is pop3, or not used; anything else is turned away with an alert', async () => {
  const server = await start();
  const agreed = async (ALPNProtocols?: string[]) =>
    (await tlsConnect({ port: server.tls }, ALPNProtocols ? { ALPNProtocols } : {})).alpnProtocol;
  expect(await agreed(['pop3'])).toBe('pop3');
  expect(await agreed(['h2', 'pop3'])).toBe('pop3');
  expect(await agreed()).toBe(false);
  await expect(agreed(['http/1.1'])).rejects.toMatchObject({
    code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
  });
});

test('renegotiation is not done', async () => {
  const server = await start();
  const socket = await tlsConnect({ port: server.tls }, { maxVersion: 'TLSv1.2' });
  const refused = new Promise(resolve => socket.on('error', resolve));
  socket.renegotiate({ rejectUnauthorized: false }, () => {});
  expect(await refused).toMatchObject({ code: 'ERR_SSL_NO_RENEGOTIATION' });
});

test('new certificates: handshakes go on, sessions are resumed, connections stay as they are', async () => {
  const server = await start({ names: ['ec'] });
  const first = await tlsConnect({ port: server.tls }, { maxVersion: 'TLSv1.2' });
  const session = first.getSession();
  const client = await implicit(server);
  expect(server.certificates.use([pairOf('renewed')])).toBe(true);
  expect(server.certificates.use([pairOf('renewed')])).toBe(false);
  expect(shownBy(await tlsConnect({ port: server.tls }))).toBe('renewed');
  expect(() => server.certificates.use([{ ...pairOf('ec'), key: pairOf('rsa').key }])).toThrow(
    /private key \S+\/ec\.key is not that of certificate \S+\/ec\.crt/,
  );
  expect(shownBy(await tlsConnect({ port: server.tls }))).toBe('renewed');
  const again = await tlsConnect({ port: server.tls }, { maxVersion: 'TLSv1.2', session: session! });
  expect(again.isSessionReused()).toBe(true);
  await client.logIn('mrose', 'tanstaaf');
});

test('the keys of tickets last an hour: then a session is not resumed, and that is all', async () => {
  let now = Date.now();
  const server = await start({ names: ['ec'], clock: () => now });
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = await tlsConnect({ port: server.tls }, { maxVersion });
    // With TLS 1.3, tickets come after the handshake.
    const session = maxVersion === 'TLSv1.2' ? first.getSession() : (await once(first, 'session'))[0];
    const again = async () => {
      const socket = await tlsConnect({ port: server.tls }, { maxVersion, session });
      expect(await Pop3Client.over(socket).line()).toMatch(/^\+OK /);
      return socket.isSessionReused();
    };
    expect(await again(), maxVersion).toBe(true);
    now += 3_600_000;
    expect(await again(), maxVersion).toBe(false);
  }
});

test('too many connections: a client of TLS is not told in clear text', async () => {
  const world = new MemoryWorld();
  const tcp = new TcpServer({
    services: world.services,
    log: world.services.log,
    maxConnections: 1,
    maxConnectionsPerAddress: 1,
  });
  const certificates = new Certificates({
    pairs: [pairOf('ec')],
    minVersions: ['TLSv1.2'],
    handshakeTimeout: 9000,
    log: world.services.log,
  });
  const tls: TlsOffer = {
    implicit: true,
    ready: async () => {},
    start: stream => certificates.start(stream, 'TLSv1.2'),
  };
  onTestFinished(() => tcp.close(0));
  const [bound] = await tcp.listen([{ host: '127.0.0.1', port: 0, tls }]);
  tcp.start();
  await tlsConnect({ port: bound!.port });
  expect(await (await Pop3Client.connect(bound!.port)).rest()).toBe('');
});
