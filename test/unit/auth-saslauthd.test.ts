// The socket of saslauthd, with a server of the test's own behind it: what is sent, to the octet, and every
// kind of answer that is none. The real one is in test/auth.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { saslauthd } from '../../lib/auth/saslauthd.js';
import { Unavailable } from '../../lib/errors.js';

const PEER = { address: '192.0.2.7', port: 40_000 };

function string(text: string): Buffer {
  const octets = Buffer.from(text, 'latin1');
  return Buffer.concat([Buffer.from([octets.length >> 8, octets.length & 255]), octets]);
}

/** A server that reads one request, then does this. */
async function listening(reply: (socket: Socket) => void) {
  const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-saslauthd-'));
  const path = join(dir, 'mux');
  const received: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer(socket => {
    sockets.add(socket);
    let request = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', chunk => {
      request = Buffer.concat([request, chunk]);
      // Four strings.
      let at = 0;
      for (let n = 0; n < 4; n++) {
        if (request.length < at + 2) return;
        at += 2 + request.readUInt16BE(at);
      }
      if (request.length < at) return;
      received.push(request);
      reply(socket);
    });
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(dir, { recursive: true });
  });
  return { path, received };
}

function ask(path: string, password: string, signal = new AbortController().signal) {
  return saslauthd(path)({ user: 'alice', password: Buffer.from(password, 'latin1'), peer: PEER }, signal);
}

async function isDown(answer: Promise<unknown>): Promise<void> {
  const failure = await answer.catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(Unavailable);
  expect(failure).toMatchObject({ code: 'SYS/TEMP', message: 'Cannot check passwords now' });
}

test.each(['secret', 'a\tb\nc\r=\x01\xff', ' ', 'x'.repeat(256)])(
  'C44: the request holds exactly %j',
  async password => {
    const { path, received } = await listening(socket => socket.end(string('OK')));
    expect(await ask(path, password)).toEqual({ ok: true });
    expect(received).toEqual([Buffer.concat(['alice', password, 'pop', ''].map(string))]);
  },
);

test('C44: a password that saslauthd would drop is refused, and not sent', async () => {
  const { path, received } = await listening(socket => socket.end(string('OK')));
  expect(await ask(path, 'x'.repeat(257))).toEqual({ ok: false, reason: 'password over 256 octets' });
  expect(received).toEqual([]);
});

test.each([
  ['OK', { ok: true }],
  ['OK welcome', { ok: true }],
  ['OK\0', { ok: true }],
  ['NO', { ok: false, reason: 'saslauthd: NO' }],
  ['NO ', { ok: false, reason: 'saslauthd: NO' }],
  ['NO authentication failed', { ok: false, reason: 'saslauthd: authentication failed' }],
])('%j', async (text, answer) => {
  const { path } = await listening(socket => socket.end(string(text)));
  expect(await ask(path, 'secret')).toEqual(answer);
});

test('an answer in pieces, of one octet each', async () => {
  const { path } = await listening(async socket => {
    for (const octet of string('NO way')) {
      socket.write(Buffer.from([octet]));
      await new Promise(resolve => setImmediate(resolve));
    }
  });
  expect(await ask(path, 'secret')).toMatchObject({ ok: false });
});

const BROKEN: [string, Buffer][] = [
  ['nothing', Buffer.alloc(0)],
  ['half a length', Buffer.from([0])],
  ['half an answer', Buffer.from([0, 2, 0x4f])],
  ['an empty string', string('')],
  ['text without a length', Buffer.from('OK\n')],
  ['another word', string('OKAY')],
  ['a word in front', string('XOK')],
  ['lower case', string('ok')],
  ['OK, and then more', Buffer.concat([string('OK'), string('NO')])],
  ['a length that is never filled', Buffer.from([0xff, 0xff, 0x4f, 0x4b])],
  ['16 MB', Buffer.alloc(16 * 1024 * 1024, 'OK')],
];
test.each(BROKEN)('neither yes nor no: %s', async (_name, octets) => {
  const { path } = await listening(socket => socket.end(octets));
  await isDown(ask(path, 'secret'));
});

test('not there, and then there', async () => {
  const { path } = await listening(socket => socket.end(string('OK')));
  await isDown(ask(`${path}.not`, 'secret'));
  expect(await ask(path, 'secret')).toEqual({ ok: true });
});

test('closed without a word; and one that never answers, given up when told to', async () => {
  await isDown(ask((await listening(socket => socket.destroy())).path, 'secret'));
  const stop = new AbortController();
  const { path } = await listening(() => stop.abort());
  await isDown(ask(path, 'secret', stop.signal));
  await isDown(ask(path, 'secret', AbortSignal.abort()));
});
