/**
 * Takeover where each connection has a process of its own that becomes its user, and where one process
 * serves all, behind the real super-servers; and a download that is slow, but not silent.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { message } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { testAsRoot } from './as-root.js';
import { DOORS, openDoor } from './doors.js';
import { SECRET } from './login.js';
import { ALICE, MAIL, MAIL_OF_ALICE, ScratchHost } from './scratch-host.js';

async function attempt(port: number): Promise<string> {
  const client = await Pop3Client.greeted(port);
  await client.ok('USER alice');
  const reply = await client.ask(`PASS ${SECRET}`);
  if (reply.startsWith('+OK')) await client.ok('QUIT');
  else client.socket.destroy();
  return reply;
}

for (const kind of DOORS) {
  testAsRoot(kind.programs, `${kind.name}: a silent session gives way to the next`, async () => {
    const host = await ScratchHost.create();
    host.fill('alice', MAIL_OF_ALICE.join(''), { ...ALICE, gid: MAIL }, 0o660);
    const { port } = await openDoor(kind, host, ['--takeover=0.5']);
    const old = await Pop3Client.loggedIn(port, 'alice', SECRET);
    await old.ok('DELE 1');
    let reply: string;
    do {
      reply = await attempt(port);
      if (!reply.startsWith('+OK')) expect(reply).toMatch(/^-ERR \[IN-USE\] /);
    } while (!reply.startsWith('+OK'));
    expect(await old.rest()).toBe('');
    expect(host.content('alice')).toBe(MAIL_OF_ALICE.join(''));
    const run = join(host.state, 'run');
    const names = () => readdirSync(run).filter(name => name.endsWith('.socket'));
    const most = kind.model === 'per-user' ? 1 : 0;
    await expect.poll(() => names().length, { timeout: 30_000 }).toBeLessThanOrEqual(most);
  });
}

const SLOW = 'inetd nowait, root';

testAsRoot(['inetd'], 'a client that takes some octets now and then keeps its session', async () => {
  const host = await ScratchHost.create();
  const large = message('large', 'a line of the large message\n'.repeat(1_200_000));
  host.fill('alice', large, ALICE);
  const takeover = 4000;
  const { port } = await openDoor(DOORS.find(({ name }) => name === SLOW)!, host, [
    `--takeover=${takeover / 1000}`,
  ]);
  const client = await Pop3Client.loggedIn(port, 'alice', SECRET);
  let taken = 0;
  client.socket.removeAllListeners('data').pause();
  client.socket.on('readable', () => {});
  client.send('RETR 1\r\nQUIT\r\n');
  // Beside the attempts: each starts a program, and how long that takes is the host's affair.
  const now = async () => {
    // More than a segment of the loopback device, so that the window opens.
    for (let left = 256 * 1024; left > 0; ) {
      const chunk: Buffer | null = client.socket.read();
      if (chunk === null) await new Promise(resolve => setImmediate(resolve));
      else left -= chunk.length;
      taken += chunk?.length ?? 0;
    }
  };
  await now();
  const begun = performance.now();
  let over = false;
  const nowAndThen = (async () => {
    while (!over) {
      await new Promise(resolve => setTimeout(resolve, takeover / 8));
      await now();
    }
  })();
  while (performance.now() - begun < 2.5 * takeover) expect(await attempt(port)).toMatch(/^-ERR \[IN-USE\] /);
  over = true;
  await nowAndThen;
  let rest = '';
  client.socket.removeAllListeners('readable').on('data', (chunk: Buffer) => {
    taken += chunk.length;
    rest = (rest + chunk.toString('latin1')).slice(-1000);
  });
  await new Promise(resolve => client.socket.on('close', resolve));
  expect(rest).toMatch(/message\r\n\.\r\n\+OK [^\n]*\r\n$/);
  expect(taken).toBeGreaterThan(large.length);
});
