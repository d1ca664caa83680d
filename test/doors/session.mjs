/**
 * One POP3 session on port 110 or 995 of this host: logs in, and if that works reads message 1, deletes it and
 * quits. Prints each command and status line, and what proc_pid_status(5) and proc_pid_mountinfo(5) say of the
 * server's processes before and after the login.
 *
 * usage: node session.mjs USER PASSWORD [stls|tls]
 */
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

const [user, password, tls] = process.argv.slice(2);
let received = '';
let socket = connect(tls === 'tls' ? 995 : 110, '127.0.0.1');
if (tls === 'tls') secure();
else listen();

function listen() {
  socket.setEncoding('latin1').on('data', text => {
    received += text;
    socket.emit('news');
  });
  socket.on('close', () => socket.emit('news'));
}

function secure() {
  socket = connectTls({ socket, rejectUnauthorized: false });
  socket.on('secureConnect', () => console.log(`TLS: ${socket.getPeerCertificate().subject.CN}`));
  listen();
}

/** Takes everything up to and including `end`. */
async function until(end) {
  while (!received.includes(end)) {
    if (socket.closed) throw new Error(`closed after "${received}"`);
    await new Promise(resolve => socket.once('news', resolve));
  }
  const length = received.indexOf(end) + end.length;
  const taken = received.slice(0, length);
  received = received.slice(length);
  return taken;
}

async function ask(line) {
  console.log(`C: ${line}`);
  socket.write(`${line}\r\n`);
  const answer = (await until('\r\n')).trimEnd();
  console.log(`S: ${answer}`);
  return answer.startsWith('+OK');
}

/** What the kernel knows of each process of the server. */
function showProcesses(when) {
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    const read = name => readFileSync(`/proc/${pid}/${name}`, 'latin1');
    try {
      if (!read('cmdline').includes('/dist/bin/mbox-pop3d.js')) continue;
      const status = read('status').match(/^(?:Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):.*$/gm);
      const mounts = read('mountinfo')
        .split('\n')
        .map(line => line.split(' '))
        .filter(fields => ['/', '/var/mail', '/home'].includes(fields[4]))
        .map(fields => `${fields[4]} ${fields[5].split(',')[0]}`);
      console.log(
        `${when}: ${[...status, ...mounts].map(line => line.replace(/\s+/g, ' ').trim()).join('; ')}`,
      );
    } catch (error) {
      if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;
    }
  }
}

console.log(`S: ${(await until('\r\n')).trimEnd()}`);
if (tls === 'stls' && (await ask('STLS'))) {
  socket.removeAllListeners();
  secure();
}
await ask(`USER ${user}`);
// Not at the greeting: that is said before the process has begun to listen.
showProcesses('before');
if (await ask(`PASS ${password}`)) {
  showProcesses('after');
  if (await ask('RETR 1')) console.log((await until('\r\n.\r\n')).replaceAll('\r', ''));
  await ask('DELE 1');
}
await ask('QUIT');
socket.end();
