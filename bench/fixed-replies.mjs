/**
 * What Node.js can do: a TCP server that gives the replies of a session without a session. It parses nothing, checks no
 * password, opens no file and writes no log; so a server in Node.js serves no more sessions a second on this machine.
 * Told where mailboxes are, it makes the system calls of c/calls.c as well: then no server in Node.js serves more
 * that keeps those promises.
 *
 * usage: fixed-replies.mjs [SPOOL USERS STATE]   listens on a port of 127.0.0.1 that it prints
 */
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import koffi from 'koffi';

const REPLIES = new Map([
  ['USER', '+OK\r\n'],
  ['PASS', '+OK maildrop has 3 messages (660 octets)\r\n'],
  ['STAT', '+OK 3 660\r\n'],
  ['QUIT', '+OK bye\r\n'],
]);

const RECORD = 160;
const [spool, users, state] = process.argv.slice(2);
const calls = spool === undefined ? undefined : promised();

const server = createServer({ noDelay: true }, socket => {
  const session = calls?.();
  socket.write('+OK ready\r\n');
  // The client sends a command when it has seen the last reply, so that each comes by itself.
  socket.on('data', line => {
    const command = line.toString('latin1', 0, 4);
    if (command === 'USER') session?.name(line.toString('latin1', 5, line.length - 2));
    if (command === 'PASS') session?.logIn();
    if (command === 'QUIT') session?.logOut();
    if (command === 'QUIT') socket.end(REPLIES.get(command));
    else socket.write(REPLIES.get(command) ?? '-ERR\r\n');
  });
  socket.on('error', () => socket.destroy());
  if (session) socket.on('close', () => session.end());
});
server.listen(0, '127.0.0.1', 511, () => console.log(`listens on 127.0.0.1:${server.address().port}`));

/** @returns makes what stands for a session; those that are over are used again */
function promised() {
  const flock = koffi.struct({ type: 'int16', whence: 'int16', start: 'int64', len: 'int64', pid: 'int32' });
  const fcntl = koffi.load(null).func('fcntl', 'int', ['int', 'int', '...']);
  const [pointer, F_OFD_SETLK, F_WRLCK, F_UNLCK] = [koffi.pointer(flock), 37, 1, 2];
  const lock = (fd, type, start, len) => {
    if (fcntl(fd, F_OFD_SETLK, pointer, { type, whence: 0, start, len, pid: 0 }) !== 0)
      throw new Error('fcntl');
  };
  const locks = fs.openSync(join(state, 'locks'), 'w+', 0o600);
  const octets = Buffer.alloc(64 * 1024);
  const { O_RDWR, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const log = (user, event) =>
    fs.writeSync(2, `2026-01-05T10:00:00.000Z info 127.0.0.1 ${event} user=${user} messages=3 octets=660\n`);
  const unused = [];
  let count = 0;

  const make = () => {
    const number = count++;
    const spare = `${spool}/.spare.${number}`;
    fs.writeFileSync(spare, `${process.pid}:localhost\n`, { mode: 0o644 });
    let user = '';
    let mailbox;
    const session = {
      name: given => {
        user = given;
      },
      logIn: () => {
        const path = `${spool}/${user}`;
        fs.statSync(users);
        lock(locks, F_WRLCK, number, 1);
        fs.writeSync(locks, `${process.pid} 2026-01-05T10:00:00.000Z 127.0.0.1`, number * RECORD);
        mailbox = fs.openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
        fs.fstatSync(mailbox);
        fs.linkSync(spare, `${path}.lock`);
        lock(mailbox, F_WRLCK, 0, 0);
        fs.lstatSync(path);
        fs.lstatSync(`${state}/${user}/journal`, { throwIfNoEntry: false });
        fs.readSync(mailbox, octets, 0, octets.length, 0);
        log(user, 'login');
      },
      logOut: () => {
        if (mailbox === undefined) return;
        fs.unlinkSync(`${spool}/${user}.lock`);
        fs.closeSync(mailbox);
        mailbox = undefined;
        lock(locks, F_UNLCK, number, 1);
        log(user, 'logout');
      },
      end: () => {
        session.logOut();
        unused.push(session);
      },
    };
    return session;
  };
  return () => unused.pop() ?? make();
}
