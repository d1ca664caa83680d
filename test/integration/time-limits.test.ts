/**
 * The limits of time: to log in, for a handshake, between two commands. Of clients that begin together, who does
 * what is asked before the time is over stays, also past it; who does not, or does something else meanwhile, is
 * cut. What comes before what is compared, never how long it took.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { clientHello } from '../hostile/client-hello.js';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, passwordOf, startReal, usersNamed } from '../support/real-server.js';
import { tlsConnect } from '../support/tls/certificates.js';

/** Of each limit, ms: enough for what is done within half of it, on a busy host, too. */
const LIMIT = 3000;

// What the first login and the first handshake load takes its time, too.
test('without a limit that is near', async () => {
  const users = usersNamed('alice');
  const server = await startReal(makePlaces({ alice: '' }), users, { certificate: 'ec' });
  const client = Pop3Client.over(await tlsConnect({ port: server.tlsPort }));
  await client.line();
  await client.logIn('alice', passwordOf('alice'));
  await client.ok('QUIT');
});

const halfTime = () => new Promise(resolve => setTimeout(resolve, LIMIT / 2));

/** Does something again and again until the connection is over. */
function keepDoing(socket: Socket, act: () => void): void {
  const timer = setInterval(() => socket.writable && act(), LIMIT / 20);
  const stop = () => clearInterval(timer);
  socket.once('close', stop).once('end', stop);
  onTestFinished(stop);
}

/** Lines of the log about an end, with the reason given. */
const ends = (logged: readonly string[], reason: string) =>
  logged.filter(line => / (logout|no-login|tls-failed) /.test(line) && line.includes(` reason=${reason}`));

test('login-timeout: a login in time is in time, and no other command puts the end off', async () => {
  const server = await startReal(makePlaces({ alice: '', bob: '' }), usersNamed('alice', 'bob'), {
    loginTimeout: LIMIT,
  });
  const from = async (localAddress: string) => {
    const client = await Pop3Client.connect(server.port, { localAddress });
    await client.line();
    return client;
  };
  const early = await from('127.0.0.2');
  await early.logIn('alice', passwordOf('alice'));
  const late = await from('127.0.0.3');
  const busy = await from('127.0.0.4');
  keepDoing(busy.socket, () => busy.send('USER alice\r\n'));
  const silent = await from('127.0.0.5');
  await halfTime();
  await late.logIn('bob', passwordOf('bob'));
  await Promise.all([busy.rest(), silent.rest()]);
  // Both began before those that are over.
  await early.ok('NOOP');
  await late.ok('NOOP');
  await server.close();
  expect(ends(server.logged, 'login-timeout')).toHaveLength(2);
});

test('idle-timeout: a command in time begins it again; a part of one does not', async () => {
  const server = await startReal(
    makePlaces({ alice: '', bob: '', carol: '' }),
    usersNamed('alice', 'bob', 'carol'),
    // A takeover, which nobody asks for, makes the server look often.
    { idleTimeout: LIMIT, takeover: 1 },
  );
  const loggedIn = (user: string) => Pop3Client.loggedIn(server.port, user, passwordOf(user));
  const lively = await loggedIn('alice');
  const typing = await loggedIn('bob');
  keepDoing(typing.socket, () => typing.send('x'));
  const silent = await loggedIn('carol');
  await halfTime();
  await lively.ok('NOOP');
  await silent.rest();
  // It began before the one that is over.
  await lively.ok('NOOP');
  keepDoing(lively.socket, () => lively.send('NOOP\r\n'));
  await typing.rest();
  await lively.ok('STAT');
  // Waits for what sessions still have to do.
  await server.close();
  const users = ends(server.logged, 'idle').map(line => / user=(\S+)/.exec(line)?.[1]);
  expect(users).toEqual(['carol', 'bob']);
});

test('handshake-timeout: a handshake in time is served; octets of one put nothing off', async () => {
  const server = await startReal(makePlaces({ alice: '' }), usersNamed('alice'), {
    certificate: 'ec',
    handshakeTimeout: LIMIT,
  });
  const from = async (localAddress: string) => {
    const socket = connect({ port: server.tlsPort, host: '127.0.0.1', localAddress, noDelay: true });
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  };
  const over = (socket: Socket) => new Promise(resolve => socket.resume().once('close', resolve));
  const hello = clientHello();
  const [late, dripping, silent] = [
    await from('127.0.0.2'),
    await from('127.0.0.3'),
    await from('127.0.0.4'),
  ];
  let sent = 0;
  keepDoing(dripping, () => dripping.write(hello.subarray(sent, ++sent)));
  await halfTime();
  const client = Pop3Client.over(await tlsConnect({ socket: late }));
  await client.line();
  await Promise.all([over(dripping), over(silent)]);
  expect(sent).toBeLessThan(hello.length);
  // It began before those that are over.
  await client.logIn('alice', passwordOf('alice'));
  expect(ends(server.logged, 'timeout').sort()).toEqual([
    'info 127.0.0.3 tls-failed reason=timeout',
    'info 127.0.0.4 tls-failed reason=timeout',
  ]);
});
