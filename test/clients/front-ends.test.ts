/**
 * Behind real front ends: HAProxy, nginx and hitch pass connections on with the PROXY protocol, and the log has the
 * client's own address, with TLS (from the first octet, by STLS) and without.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.js';
import { messages } from '../support/mailbox.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY, type ServePlaces, servePlaces, serving } from '../support/serving.js';
import { install, pairOf } from '../support/tls/certificates.js';
import { mustRun, testWith } from './programs.js';

/** Where the front end is, and where its clients are, of this host. */
const FRONT_END = '127.0.0.2';
const CLIENT = '127.0.0.5';

interface Ports {
  readonly plain: number;
  readonly tls: number;
}

/** A front end of `ours` that passes on to `theirs`, until the test is over. */
type StartFrontEnd = (places: ServePlaces, ours: Ports, theirs: Ports) => Promise<void>;

/** What HAProxy does to its servers, and that it finds them well. */
function haproxy(sends: string): StartFrontEnd {
  return async ({ root }, ours, theirs) => {
    const config = join(root, 'haproxy.cfg');
    const server = (port: number) => `server mail 127.0.0.1:${port} source ${FRONT_END} ${sends}`;
    writeFileSync(
      config,
      `defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout check 30s
listen pop3
  bind 127.0.0.1:${ours.plain}
  option tcp-check
  tcp-check expect string +OK
  ${server(theirs.plain)} check inter 100
listen pop3s
  bind 127.0.0.1:${ours.tls}
  ${server(theirs.tls)}
`,
    );
    await running('haproxy', ['-db', '-f', config], ours);
  };
}

const nginx: StartFrontEnd = async ({ root }, ours, theirs) => {
  const config = join(root, 'nginx.conf');
  const module = '/usr/lib/nginx/modules/ngx_stream_module.so';
  const pass = (from: number, to: number) =>
    `server { listen 127.0.0.1:${from}; proxy_pass 127.0.0.1:${to}; proxy_bind ${FRONT_END}; proxy_protocol on; }`;
  writeFileSync(
    config,
    `${existsSync(module) ? `load_module ${module};` : ''}
daemon off; master_process off; pid ${root}/nginx.pid; error_log stderr;
events {}
stream { ${pass(ours.plain, theirs.plain)} ${pass(ours.tls, theirs.tls)} }
`,
  );
  await running('nginx', ['-e', 'stderr', '-p', root, '-c', config], ours);
};

/** Starts a program and waits until it listens. */
async function running(program: string, args: readonly string[], ports: Partial<Ports>): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    said += text;
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  for (const port of Object.values(ports)) {
    while (!(await answers(port))) {
      if (child.exitCode !== null) throw new Error(`${program} ended: ${said}`);
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' });
  const answer = await new Promise<boolean>(resolve => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  socket.destroy();
  return answer;
}

const cases: [string, string, StartFrontEnd][] = [
  ['haproxy', 'HAProxy, version 1', haproxy('send-proxy')],
  ['haproxy', 'HAProxy, version 2', haproxy('send-proxy-v2')],
  [
    'haproxy',
    'HAProxy, version 2 with extensions',
    haproxy('send-proxy-v2-ssl-cn proxy-v2-options crc32c,unique-id,authority'),
  ],
  ['nginx', 'nginx, version 1', nginx],
];

for (const [program, name, startFrontEnd] of cases) {
  testWith([program, 'curl'], `${name}: the true client, with TLS and without`, async () => {
    const MAIL = messages(3);
    const places = servePlaces({ alice: MAIL.join('') });
    const files = { cert: join(places.root, 'cert.pem'), key: join(places.root, 'key.pem') };
    install('rsa', files);
    for (const file of Object.values(files)) chownSync(file, SERVED_BY.uid, SERVED_BY.gid);
    const tls = ['--tls-listen', '127.0.0.1:0', '--tls-cert', files.cert, '--tls-key', files.key];
    const { server, port } = await serving(places, [...tls, '--proxy-nets', FRONT_END]);
    const [tlsPort] = await server.tlsPorts();
    const ours = { plain: await freePort(), tls: await freePort() };
    await startFrontEnd(places, ours, { plain: port, tls: tlsPort! });

    const curl = (url: string, ...more: string[]) => {
      const common = ['-sS', '--interface', CLIENT, '-u', `alice:${passwordOf('alice')}`];
      return mustRun('curl', [...common, ...more, url]);
    };
    const expected = await curl(`pop3://127.0.0.1:${ours.plain}/1`);
    expect(expected).toContain('Subject: ');
    expect(await curl(`pop3://127.0.0.1:${ours.plain}/1`, '--ssl-reqd', '-k')).toBe(expected);
    expect(await curl(`pop3s://127.0.0.1:${ours.tls}/1`, '-k')).toBe(expected);

    // Straight to the server, under a name of its own making.
    await mustRun('sh', [
      '-c',
      `printf 'PROXY TCP4 203.0.113.7 127.0.0.1 1 110\\r\\nQUIT\\r\\n' | curl -sS --interface ${CLIENT} telnet://127.0.0.1:${port}`,
    ]);
    await server.logged(new RegExp(` ${CLIENT} proxy-refused `));

    const log = server.stderr();
    const logins = [...log.matchAll(/ (\S+) login user=alice .*?(?: tls=(\S+))? via=(\S+)$/gm)];
    expect(logins.map(([, client, version, via]) => [client, version?.slice(0, 4), via])).toEqual([
      [CLIENT, undefined, FRONT_END],
      [CLIENT, 'TLSv', FRONT_END],
      [CLIENT, 'TLSv', FRONT_END],
    ]);
    expect(log).not.toMatch(/203\.0\.113/);
    expect(log).not.toMatch(/bad-proxy-header/);
  });
}

testWith(
  ['hitch', 'curl'],
  'hitch, version 2: TLS ends there, and the true client is in the log',
  async () => {
    const MAIL = messages(3);
    const places = servePlaces({ alice: MAIL.join('') });
    // It connects from where it is; there is no option about it.
    const { server, port } = await serving(places, ['--proxy-nets', '127.0.0.1']);
    const [pem, config] = [join(places.root, 'hitch.pem'), join(places.root, 'hitch.conf')];
    const { cert, key } = pairOf('rsa');
    writeFileSync(pem, Buffer.concat([key, cert]), { mode: 0o600 });
    const tls = await freePort();
    writeFileSync(
      config,
      `frontend = "[127.0.0.1]:${tls}"
backend = "[127.0.0.1]:${port}"
pem-file = "${pem}"
alpn-protos = "pop3"
write-proxy-v2 = on
workers = 1
daemon = off
${process.geteuid!() === 0 ? 'user = "nobody"' : ''}
`,
    );
    await running('hitch', ['--config', config], { tls });
    const args = ['-sS', '-k', '--interface', CLIENT, '-u', `alice:${passwordOf('alice')}`];
    expect(await mustRun('curl', [...args, `pop3s://127.0.0.1:${tls}/2`])).toContain('Subject: ');
    await server.logged(new RegExp(` ${CLIENT} login user=alice .* via=127\\.0\\.0\\.1$`, 'm'));
  },
);
