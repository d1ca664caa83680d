/**
 * Behind a front end (HAProxy's doc/proxy-protocol.txt): the client's address is right wherever it counts, TLS
 * and pipelined commands may follow the header at once, and nobody else can say who they are.
 */
import { connect as connectSocket } from 'node:net';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { TcpServer } from '../../lib/server/tcp.js';
import { Certificates } from '../../lib/tls/certificates.js';
import { MemoryWorld } from '../support/memory-maildrop.js';
import { Nowait } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT } from '../support/program.js';
import { header2, tcp4 } from '../support/proxy-header.js';
import { passwordOf } from '../support/real-server.js';
import { flagsFor, SERVED_BY, servePlaces } from '../support/serving.js';
import { pairOf, tlsConnect } from '../support/tls/certificates.js';

const V1 = 'PROXY TCP4 203.0.113.7 198.51.100.1 50000 110\r\n';
const LOCAL = header2({ versionAndCommand: 0x20 });

/** A server for which 127.0.0.2 is a front end, and nobody else. */
async function start(options: Partial<ConstructorParameters<typeof TcpServer>[0]> = {}, settings = {}) {
  const world = new MemoryWorld(settings);
  const { services } = world;
  const certificates = new Certificates({
    pairs: [pairOf('ec')],
    minVersions: ['TLSv1.2'],
    handshakeTimeout: 30_000,
    log: services.log,
  });
  const tls = {
    implicit: true,
    ready: async () => {},
    start: (stream: Parameters<Certificates['start']>[0]) => certificates.start(stream, 'TLSv1.2'),
  };
  const tcp = new TcpServer({
    services,
    log: services.log,
    maxConnections: 99,
    maxConnectionsPerAddress: 99,
    proxyNets: ['127.0.0.2'],
    ...options,
  });
  const here = { host: '127.0.0.1', port: 0 };
  const [plain, secure] = await tcp.listen([here, { ...here, tls }]);
  tcp.start();
  onTestFinished(() => tcp.close(0));
  const behind = async (header: string | Uint8Array) => {
    const client = await Pop3Client.connect(plain!.port, { localAddress: '127.0.0.2' });
    client.send(header);
    return client;
  };
  return { world, tcp, port: plain!.port, tlsPort: secure!.port, behind };
}

const PATIENCE = { timeout: 30_000, interval: 5 };
const logged = (world: MemoryWorld, line: RegExp) =>
  vi.waitFor(() => expect(world.logged).toContainEqual(expect.stringMatching(line)), PATIENCE);

describe('the client of the header', () => {
  test.each([
    ['version 1', V1, '203.0.113.7'],
    ['version 2', header2(), '203.0.113.7'],
    ['UNKNOWN', 'PROXY UNKNOWN\r\n', '127.0.0.2'],
    ['LOCAL', LOCAL, '127.0.0.2'],
  ])('%s: is in the log, and commands behind it are run', async (_, header, address) => {
    const { world, behind } = await start();
    const pipelined = Buffer.from('USER mrose\r\nPASS tanstaaf\r\nSTAT\r\nQUIT\r\n');
    const client = await behind(Buffer.concat([Buffer.from(header), pipelined]));
    client.socket.end();
    const replies = (await client.rest()).split('\r\n');
    expect(replies[3]).toBe('+OK 2 320');
    const via = address === '127.0.0.2' ? '$' : ' via=127\\.0\\.0\\.2$';
    await logged(world, new RegExp(`^info ${address} login user=mrose .*${via}`));
    await logged(world, new RegExp(`^info ${address} logout user=mrose`));
  });

  test('however the header is cut', async () => {
    const { behind } = await start();
    for (const header of [Buffer.from(V1), header2()]) {
      const clients = Array.from(header, async (_, at) => {
        const client = await behind(header.subarray(0, at + 1));
        await new Promise(resolve => setImmediate(resolve));
        client.send(Buffer.concat([header.subarray(at + 1), Buffer.from('CAPA\r\nQUIT\r\n')]));
        expect(await client.line()).toMatch(/^\+OK mbox-pop3d/);
        expect(await client.rest()).toMatch(/^\+OK.*PIPELINING.*\r\n\.\r\n\+OK[^\n]*\r\n$/s);
      });
      await Promise.all(clients);
    }
  });

  test.each([['with the header'], ['after it']])('TLS from the first octet, %s', async when => {
    const { world, tlsPort } = await start();
    const socket = connectSocket({ port: tlsPort, host: '127.0.0.1', localAddress: '127.0.0.2' });
    if (when === 'with the header') socket.cork();
    socket.write(header2());
    const secure = tlsConnect({ socket });
    setImmediate(() => socket.uncork());
    const client = Pop3Client.over(await secure);
    onTestFinished(() => void client.socket.destroy());
    expect(await client.line()).toMatch(/^\+OK/);
    await client.logIn('mrose', 'tanstaaf');
    await logged(world, /^info 203\.0\.113\.7 login .* tls=TLSv1\.3 via=127\.0\.0\.2$/);
  });

  test('counts for the limit of an address, and not the front end', async () => {
    const { world, behind } = await start({ maxConnectionsPerAddress: 2 });
    const from = (address: string) => behind(header2({ block: tcp4(address) }));
    for (let i = 0; i < 2; i++) expect(await (await from('203.0.113.7')).line()).toMatch(/^\+OK/);
    expect(await (await from('203.0.113.7')).rest()).toBe(
      '-ERR [SYS/TEMP] too many connections from your address, try again later\r\n',
    );
    for (let i = 1; i <= 5; i++) expect(await (await from(`192.0.2.${i}`)).line()).toMatch(/^\+OK/);
    await logged(world, /^warn 203\.0\.113\.7 refused .* via=127\.0\.0\.2$/);
  });

  test('IPv6 clients of one /64 count as one', async () => {
    const { behind } = await start({ maxConnectionsPerAddress: 1 });
    const from = (address: string) => behind(`PROXY TCP6 ${address} ::1 1 110\r\n`);
    expect(await (await from('2001:db8::1')).line()).toMatch(/^\+OK/);
    expect(await (await from('2001:db8::ffff:2')).line()).toMatch(/^-ERR/);
    expect(await (await from('2001:db8:0:1::2')).line()).toMatch(/^\+OK/);
  });

  test('is the one who may log in, or not, and who waits after failures', async () => {
    const permits = (address: string) => address !== '203.0.113.7';
    const { world, behind } = await start({}, { permits });
    expect(await (await behind(V1)).rest()).toBe('-ERR [SYS/PERM] no service for your address\r\n');
    const begun: string[] = [];
    const { throttle } = world.services;
    const begin = throttle.begin.bind(throttle);
    throttle.begin = (address, user) => {
      begun.push(address);
      return begin(address, user);
    };
    const other = await behind(header2({ block: tcp4('192.0.2.9') }));
    await other.line();
    await other.logIn('mrose', 'tanstaaf');
    expect(begun).toEqual(['192.0.2.9']);
  });

  test('is not on this host because its front end is', async () => {
    const { behind } = await start({}, { plaintext: 'local' });
    const far = await behind(V1);
    await far.line();
    expect(await far.ask('USER mrose')).toMatch(/^-ERR \[AUTH\]/);
    const check = await behind(LOCAL);
    await check.line();
    await check.logIn('mrose', 'tanstaaf');
  });
});

describe('a front end without a header', () => {
  test.each([
    ['a command', 'CAPA\r\n', 'no PROXY header'],
    ['a header that is wrong', 'PROXY TCP4 203.0.113.07 198.51.100.1 1 110\r\n', 'version 1: not an address'],
    ['the start of one, then the end', V1.slice(0, 20), 'the header is not complete'],
  ])('%s: cut without a word, and logged', async (_, octets, reason) => {
    const { world, tcp, behind } = await start();
    const client = await behind(octets);
    client.socket.end();
    expect(await client.rest()).toBe('');
    await logged(world, new RegExp(`^warn 127\\.0\\.0\\.2 bad-proxy-header reason="${reason}"$`));
    await vi.waitFor(() => expect(tcp.connections).toBe(0), PATIENCE);
  });

  test('that takes its time: cut after the time of a handshake', async () => {
    const { world, behind } = await start({ handshakeTimeout: 30 });
    const client = await behind(V1.slice(0, -1));
    expect(await client.rest()).toBe('');
    await logged(world, /^warn 127\.0\.0\.2 bad-proxy-header reason=timeout$/);
  });

  test('a look whether we are there is no news', async () => {
    const { world, behind } = await start();
    const client = await behind('');
    client.socket.end();
    await client.rest();
    await logged(world, /^debug 127\.0\.0\.2 bad-proxy-header reason=none$/);
  });

  test('at a shutdown: cut at once', async () => {
    const { world, tcp, behind } = await start();
    const client = await behind(V1.slice(0, 9));
    await vi.waitFor(() => expect(tcp.connections).toBe(1), PATIENCE);
    await tcp.close(60_000);
    expect(await client.rest()).toBe('');
    // And not because it came too late.
    expect(world.logged.join('\n')).toMatch(/^debug 127\.0\.0\.2 bad-proxy-header reason=none$/m);
  });
});

test.each([
  ['version 1', V1],
  ['version 2', header2()],
])('a header of somebody else, %s: refused, and the log has the true address', async (_, header) => {
  const { world, port } = await start();
  const client = await Pop3Client.connect(port, { localAddress: '127.0.0.3' });
  client.send(Buffer.concat([Buffer.from(header), Buffer.from('USER mrose\r\nPASS tanstaaf\r\nSTAT\r\n')]));
  expect(await client.rest()).toMatch(/-ERR \[SYS\/PERM\] no PROXY header is taken from your address\r\n$/);
  await logged(world, /^warn 127\.0\.0\.3 proxy-refused reason="not in proxy-nets"$/);
  expect(world.logged.join()).not.toMatch(/203\.0\.113|login user/);
});

test('a second header behind the first: refused, by the client behind it', async () => {
  const { world, behind } = await start();
  const client = await behind(`${V1}PROXY TCP4 192.0.2.99 198.51.100.1 1 110\r\nUSER mrose\r\n`);
  expect(await client.rest()).toMatch(/-ERR \[SYS\/PERM\][^\n]*\n$/);
  await logged(world, /^warn 203\.0\.113\.7 proxy-refused/);
  expect(world.logged.join()).not.toContain('192.0.2.99');
});

test('a process for one connection (nowait): the address of the header; none without one', async () => {
  const places = servePlaces({ alice: 'From a@b Sat Jan  3 01:05:34 1998\nSubject: x\n\nhi\n' });
  const [, , , ...flags] = flagsFor(places);
  const program = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
  const nets = ['--proxy-nets', '127.0.0.2', '--deny-nets', '203.0.113.0/24'];
  const door = await Nowait.start([process.execPath, program, 'inetd', ...flags, ...nets], {
    ...(IS_ROOT && SERVED_BY),
  });
  const behind = async (header: string) => {
    const client = await Pop3Client.connect(door.port, { localAddress: '127.0.0.2' });
    client.send(`${header}USER alice\r\nPASS ${passwordOf('alice')}\r\nQUIT\r\n`);
    return client.rest();
  };
  expect(await behind(V1)).toBe('-ERR [SYS/PERM] no service for your address\r\n');
  expect(await behind(V1.replace('203.0.113.7', '192.0.2.7'))).toMatch(
    /^\+OK.*\+OK.*\+OK maildrop has 1.*\+OK/s,
  );
  expect(await behind('')).toBe('');
  expect(await door.exits()).toEqual([0, 0, 0]);
});
