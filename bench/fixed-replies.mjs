/**
 * What Node.js can do: a TCP server that gives the replies of a session without a session. It parses nothing, checks no
 * password, opens no file and writes no log; so a server in Node.js serves no more sessions a second on this machine.
 *
 * usage: fixed-replies.mjs   listens on a port of 127.0.0.1 that it prints
 */
import { createServer } from 'node:net';

const REPLIES = new Map([
  ['USER', '+OK\r\n'],
  ['PASS', '+OK maildrop has 3 messages (660 octets)\r\n'],
  ['STAT', '+OK 3 660\r\n'],
  ['QUIT', '+OK bye\r\n'],
]);

const server = createServer({ noDelay: true }, socket => {
  socket.write('+OK ready\r\n');
  // The client sends a command when it has seen the last reply, so that each comes by itself.
  socket.on('data', line => {
    const command = line.toString('latin1', 0, 4);
    if (command === 'QUIT') socket.end(REPLIES.get(command));
    else socket.write(REPLIES.get(command) ?? '-ERR\r\n');
  });
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', 511, () => console.log(`listens on 127.0.0.1:${server.address().port}`));
