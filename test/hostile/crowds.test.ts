/** C3, C62, C67: clients that come in crowds and do next to nothing: each costs little, and none stays. */
import { expect, test } from 'vitest';
import { clientHello, record } from './client-hello.js';
import { affordable, Crowd } from './crowd.js';
import { besiege, expectEnds, FULL, MiB, mega } from './siege.js';

/** Seconds. */
const LOGIN_TIMEOUT = FULL ? 60 : 6;
/** What a crowd never finishes. */
const COMMAND = `USER ${'x'.repeat(400)}`;

test.each([
  ['plain', 'port', 1000],
  ['TLS', 'tls', FULL ? 1000 : 300],
] as const)('slowloris, %s: an octet now and then, never a command', async (name, where, size) => {
  const flags = ['--login-timeout', String(LOGIN_TIMEOUT), '--handshake-timeout', '4'];
  const options = {
    name: `slowloris ${name}, ${size} clients`,
    flags,
    mostGrowth: size * 64 * 1024 + 48 * MiB,
  };
  await besiege(options, async target => {
    const crowd = await Crowd.open(target[where], size);
    let sent = 0;
    await crowd.ended(FULL ? 3000 : 500, () => {
      if (sent === 0) target.note(`${Math.round(target.growth() / 1024 / size)} KiB each`);
      // To the port that speaks TLS, the record that a handshake begins with.
      const octet = where === 'tls' ? Buffer.of([22, 3, 1, 1, 0, 1][sent] ?? 0) : COMMAND[sent]!;
      crowd.send(() => octet);
      sent++;
    });
    const [event, reason] = where === 'tls' ? ['tls-failed', 'timeout'] : ['no-login', 'login-timeout'];
    await expectEnds(target.server, event!, reason!, size);
    expect(crowd.received.filter(text => !/^(\+OK [^\n]*\n)?$/.test(text))).toEqual([]);
  });
});

test('idle connections: each costs next to nothing', async () => {
  const size = affordable(FULL ? 10_000 : 2000);
  // Until all are there, the first must not be gone: how long that takes is the host's affair.
  for (let seconds = FULL ? 90 : 10; !(await allIdleAtOnce(size, seconds)); ) seconds *= 2;
});

/** @returns false if the first were gone, after these seconds, when the last came */
async function allIdleAtOnce(size: number, seconds: number): Promise<boolean> {
  const flags = ['--login-timeout', String(seconds)];
  const options = { name: `idle, ${size} clients`, flags, mostGrowth: size * 32 * 1024 + 32 * MiB };
  let atOnce = false;
  await besiege(options, async ({ port, server, growth, note }) => {
    const crowd = await Crowd.open(port, size);
    while (crowd.received.some(text => text === '')) await new Promise(resolve => setTimeout(resolve, 50));
    atOnce = crowd.left === size;
    note(
      `${crowd.left} at once, ${(growth() / 1024 / size).toFixed(1)} KiB each, ${mega(growth())} MiB in all`,
    );
    await crowd.ended(500);
    await expectEnds(server, 'no-login', 'login-timeout', size);
  });
  return atOnce;
}

/** How far a handshake comes before it stops: what is sent of it. */
const STAGES: readonly (() => Buffer)[] = [
  () => Buffer.alloc(0),
  () => clientHello().subarray(0, 1),
  () => clientHello().subarray(0, 5),
  () => clientHello().subarray(0, 100),
  () => clientHello().subarray(0, -1),
  // The server has said all it has to say, and waits for the client's Finished.
  () => clientHello(),
  () => Buffer.concat([clientHello(), record(20, Buffer.of(1))]),
  () => Buffer.concat([clientHello(), record(23, Buffer.alloc(53)).subarray(0, -1)]),
  () => clientHello({ version: 0x0303 }),
  // ClientKeyExchange, without its key.
  () =>
    Buffer.concat([clientHello({ version: 0x0303 }), record(22, Buffer.of(16, 0, 0, 33, 32)).subarray(0, 9)]),
];

test('handshakes that stop at each stage: all are gone after their time', async () => {
  const size = affordable(FULL ? 10_000 : 600);
  // Until all are there, the first must not be gone.
  const flags = ['--handshake-timeout', FULL ? '30' : '6', '--login-timeout', '300'];
  const options = { name: `stalled handshakes, ${size}`, flags, mostGrowth: size * 96 * 1024 + 48 * MiB };
  await besiege(options, async ({ tls, server, growth, note }) => {
    const crowd = await Crowd.open(tls, size);
    crowd.send(n => STAGES[n % STAGES.length]!());
    let most = 0;
    await crowd.ended(200, () => {
      most = Math.max(most, growth());
    });
    note(`${(most / 1024 / size).toFixed(1)} KiB each, ${mega(most)} MiB in all`);
    await expectEnds(server, 'tls-failed', 'timeout', size);
  });
});
