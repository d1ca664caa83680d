/**
 * Takeover between sessions of one mailbox, as between processes: each spool here has its own socket. Who
 * is silent, and when, is said by the test.
 */
import { spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Disconnected } from '../../lib/errors.js';
import { formatLine, type Log, silentLog } from '../../lib/log.js';
import { nodeIo } from '../../lib/maildrop/io.js';
import { Takeover } from '../../lib/maildrop/takeover.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { BUSY, message, type Spool, scratchDir, spoolWith } from '../support/mailbox.js';
import { mailSpool, type Overrides } from '../support/maildrop.js';

const MAIL = message(1) + message(2);
const OLD = { address: '192.0.2.1', port: 1 };
const NEW = { address: '2001:db8::2', port: 2 };
const IN_USE = {
  code: 'IN-USE',
  message: /^maildrop is in use by another POP3 session since \S+ from 192\.0\.2\.1$/,
};

/** A process with one session at most, and a client of which the test says how silent it is. */
class Party {
  /** Milliseconds. */
  silent = 0;
  cuts = 0;
  readonly logged: string[] = [];
  maildrop: Maildrop | undefined;

  constructor(
    private readonly spool: Spool,
    private readonly overrides: Overrides = {},
  ) {}

  async open(peer = OLD): Promise<Maildrop> {
    const log: Log = {
      write: (_level, who, event, fields) => this.logged.push(formatLine(who, event, fields)),
    };
    const process = await mailSpool(this.spool, { takeover: 60_000, log, ...this.overrides });
    const holder = {
      silence: () => this.silent,
      cut: () => {
        this.cuts++;
        // As a session does: soon, and without UPDATE.
        setImmediate(() => this.maildrop?.release());
      },
    };
    this.maildrop = await process.open({ user: 'alice' }, peer, holder);
    return this.maildrop;
  }
}

const sockets = (dir: string) => readdirSync(dir).filter(name => name.endsWith('.socket'));

describe('a session whose client is silent', () => {
  test('gives way: its marks are dropped, both logs say so, no socket is left', async () => {
    const spool = spoolWith(MAIL);
    const [old, young] = [new Party(spool), new Party(spool)];
    const maildrop = await old.open();
    await maildrop.mark(1);
    old.silent = 60_000;
    const newer = await young.open(NEW);
    expect(newer.messages).toBe(2);
    expect(old.cuts).toBe(1);
    await expect(maildrop.update()).rejects.toThrow(Disconnected);
    expect(spool.content()).toBe(MAIL);
    expect(old.logged).toEqual(['192.0.2.1 taken-over user=alice by=2001:db8::2 silent=60']);
    expect(young.logged).toEqual([
      expect.stringMatching(/^2001:db8::2 takeover user=alice from=192\.0\.2\.1 since=\S+Z$/),
    ]);
    await newer.mark(2);
    await newer.update();
    expect(spool.content()).toBe(message(1));
    expect(sockets(spool.runtimeDir)).toEqual([]);
  });

  test('gives way whatever the interface is called by which either of them came', async () => {
    const spool = spoolWith(MAIL);
    const [old, young] = [new Party(spool), new Party(spool)];
    await old.open({ address: 'fe80::1%br-lan_2', port: 1 });
    old.silent = 60_000;
    expect((await young.open({ address: 'fe80::2%wg-home', port: 2 })).messages).toBe(2);
    await young.maildrop?.release();
  });

  test.each([
    ['for less than it takes', 59_999, {}],
    ['but does not give way to anybody', 1e9, { takeover: 0 }],
  ])('%s: IN-USE', async (_, silent, overrides) => {
    const spool = spoolWith(MAIL);
    const old = new Party(spool, overrides);
    const maildrop = await old.open();
    old.silent = silent;
    await expect(new Party(spool).open(NEW)).rejects.toMatchObject({
      code: 'IN-USE',
      message: expect.stringMatching(IN_USE.message),
    });
    expect(old.cuts).toBe(0);
    await maildrop.mark(1);
    await maildrop.update();
    expect(spool.content()).toBe(message(2));
  });

  test('is not asked by one that takes nothing over', async () => {
    const spool = spoolWith(MAIL);
    const old = new Party(spool);
    await old.open();
    old.silent = 1e9;
    await expect(new Party(spool, { takeover: 0 }).open(NEW)).rejects.toMatchObject({ code: 'IN-USE' });
    expect(old.cuts).toBe(0);
    await old.maildrop?.release();
  });

  test('gives way to one of two', async () => {
    const spool = spoolWith(MAIL);
    const old = new Party(spool);
    await old.open();
    old.silent = 60_000;
    const both = [new Party(spool), new Party(spool)];
    const results = await Promise.allSettled(both.map(party => party.open(NEW)));
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'IN-USE' });
    }
    expect(old.cuts).toBe(1);
    for (const party of both) await party.maildrop?.release();
    expect(sockets(spool.runtimeDir)).toEqual([]);
  });

  test('among others of its process', async () => {
    const spool = spoolWith(MAIL);
    writeFileSync(join(spool.dir, 'bob'), MAIL, { mode: 0o600 });
    const process = await mailSpool(spool, { takeover: 1 });
    const bob = await process.open({ user: 'bob' }, OLD, { silence: () => 9, cut: () => {} });
    let cut = false;
    const alice = await process.open({ user: 'alice' }, OLD, {
      silence: () => 9,
      cut: () => {
        cut = true;
        void alice.release();
      },
    });
    expect(sockets(spool.runtimeDir)).toHaveLength(1);
    const again = await process.open({ user: 'alice' }, NEW, BUSY);
    expect(cut).toBe(true);
    await again.release();
    await bob.mark(1);
    await bob.update();
    expect(readFileSync(join(spool.dir, 'bob'), 'latin1')).toBe(message(2));
    expect(sockets(spool.runtimeDir)).toEqual([]);
  });

  test('without a mailbox file', async () => {
    const spool = spoolWith(undefined);
    const old = new Party(spool);
    await old.open();
    old.silent = 60_000;
    const newer = await new Party(spool).open(NEW);
    expect(old.cuts).toBe(1);
    await newer.release();
  });
});

/** Asks, and is gone at once. */
const ASK_AND_LEAVE = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.send(sys.argv[2].encode() + b' 192.0.2.9\\n')
s.close()`;

test('a process that was stopped does not give way to who asked meanwhile, and has given up', async () => {
  const spool = spoolWith(MAIL);
  const old = new Party(spool);
  const maildrop = await old.open();
  old.silent = 60_000;
  const [socket] = sockets(spool.runtimeDir);
  const [record] = readdirSync(spool.runtimeDir).filter(name => name.endsWith('.session'));
  // Not for a moment does the event loop turn until the other one is gone.
  const args = ['-c', ASK_AND_LEAVE, join(spool.runtimeDir, socket!), record!.replace('.session', '')];
  expect(spawnSync('python3', args).status).toBe(0);
  for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve));
  expect(old.cuts).toBe(0);
  await maildrop.update();
});

test('a session in the UPDATE state is not ended, but waited for', async () => {
  const spool = spoolWith(MAIL);
  let goOn = () => {};
  const begun = new Promise<void>(resolve => {
    goOn = resolve;
  });
  const old = new Party(spool, {
    io: {
      ...nodeIo,
      truncate: async (fd, size) => {
        if (asked !== undefined) await begun;
        return nodeIo.truncate(fd, size);
      },
    },
  });
  let asked: Promise<Maildrop> | undefined;
  const maildrop = await old.open();
  await maildrop.mark(2);
  old.silent = 1e9;
  const updated = maildrop.update();
  asked = new Party(spool).open(NEW);
  goOn();
  await updated;
  const newer = await asked;
  expect(newer.messages).toBe(1);
  expect(old.cuts).toBe(0);
  await newer.release();
});

describe('the socket', () => {
  test('of a runtime directory whose path is longer than an address', async () => {
    const dir = join(scratchDir(), 'r'.repeat(200));
    mkdirSync(dir);
    const spool = { ...spoolWith(MAIL), runtimeDir: dir };
    const old = new Party(spool);
    await old.open();
    old.silent = 60_000;
    const newer = await new Party(spool).open(NEW);
    expect(old.cuts).toBe(1);
    await newer.release();
    expect(sockets(dir)).toEqual([]);
  });

  test('of a process that was killed is removed by the next session of that mailbox, and only then', async () => {
    const spool = spoolWith(MAIL);
    const first = new Party(spool);
    await first.open();
    await first.maildrop?.release();
    const [record] = readdirSync(spool.runtimeDir);
    const path = join(spool.runtimeDir, record!);
    const name = '0123456789abcdef.socket';
    await deadSocket(join(spool.runtimeDir, name));
    const { pid: gone } = spawnSync('true');
    // Of a file that is no socket, and of anything outside, nothing is removed.
    for (const [named, left] of [
      ['../alice.socket', [name]],
      [name, []],
    ] as const) {
      writeFileSync(path, `${gone} 2026-01-05T10:00:00.000Z 192.0.2.1 ${named}\n`);
      const next = new Party(spool);
      await next.open();
      await next.maildrop?.release();
      expect(sockets(spool.runtimeDir)).toEqual(left);
    }
  });

  test('of processes that were killed are removed by who clears up; of no living one, nor one just made', async () => {
    const spool = spoolWith(MAIL);
    const [dead, young, file] = ['0123456789abcdef', '1123456789abcdef', '2123456789abcdef'].map(
      n => `${n}.socket`,
    );
    const long = new Date(Date.now() - 3600_000);
    for (const name of [dead!, young!, 'alice.socket']) {
      await deadSocket(join(spool.runtimeDir, name));
      if (name !== young) utimesSync(join(spool.runtimeDir, name), long, long);
    }
    writeFileSync(join(spool.runtimeDir, file!), '');
    utimesSync(join(spool.runtimeDir, file!), long, long);
    const living = new Party(spool);
    await living.open();
    const [own] = sockets(spool.runtimeDir).filter(
      name => ![dead, young, file, 'alice.socket'].includes(name),
    );
    utimesSync(join(spool.runtimeDir, own!), long, long);
    const process = await mailSpool(spool);
    expect(await process.clearUp()).toEqual({ lockFiles: 0, sockets: 1 });
    expect(sockets(spool.runtimeDir).sort()).toEqual([young, file, 'alice.socket', own].sort());
    await living.maildrop?.release();
    rmSync(spool.runtimeDir, { recursive: true });
    expect(await process.clearUp()).toEqual({ lockFiles: 0, sockets: 0 });
  });

  test('of a busy process stays for a moment after its last session, and is asked by the next', async () => {
    // How long a moment is, is for no clock to say.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const dir = scratchDir();
    const [busy, other] = [new Takeover(dir, 1000, silentLog), new Takeover(dir, 1000, silentLog)];
    const claim = { account: { user: 'alice' }, peer: OLD, holder: BUSY };
    const session = async () => {
      const hold = busy.hold('0123', claim);
      const name = await hold.socket;
      hold.release()();
      return name;
    };
    const first = await session();
    expect(sockets(dir)).toEqual([]);
    const second = await session();
    expect([second === first, sockets(dir)]).toEqual([false, [second]]);
    // Nobody has it any more.
    expect(await other.ask(second!, '0123', NEW)).toBe(true);
    expect(await session()).toBe(second);
    const last = busy.hold('0123', {
      ...claim,
      holder: { silence: () => 1000, cut: () => last.release()() },
    });
    expect(await other.ask((await last.socket)!, '0123', NEW)).toBe(true);
    expect(await last.socket).toBe(second);
    vi.advanceTimersByTime(1000);
    expect(sockets(dir)).toEqual([]);
    const fresh = busy.hold('0123', claim);
    expect(sockets(dir)).toEqual([await fresh.socket]);
    busy.close();
    expect(sockets(dir)).toEqual([]);
  });

  test('that cannot be made: sessions without takeover', async () => {
    const logged: string[] = [];
    const log: Log = { write: (level, who, event) => logged.push(`${level} ${who} ${event}`) };
    const takeover = new Takeover(join(scratchDir(), 'missing'), 60_000, log);
    const hold = takeover.hold('0123', { account: { user: 'alice' }, peer: OLD, holder: BUSY });
    expect(await hold.socket).toBe(undefined);
    hold.beginUpdate();
    hold.release()();
    expect(logged).toEqual(['warn - takeover-off']);
  });

  test('speaks to nobody who talks nonsense', async () => {
    const spool = spoolWith(MAIL);
    const old = new Party(spool);
    await old.open();
    old.silent = 1e9;
    const [name] = sockets(spool.runtimeDir);
    for (const nonsense of [
      '\n',
      'zz 192.0.2.1\n',
      'x'.repeat(300),
      '0123 192.0.2.1',
      'alice 192.0.2.1 more\n',
    ]) {
      const socket = connect(join(spool.runtimeDir, name!));
      let answer = '';
      socket.setEncoding('latin1').on('data', text => {
        answer += text;
      });
      socket.on('error', () => {});
      socket.end(nonsense);
      await new Promise(resolve => socket.on('close', resolve));
      expect(answer).toBe('');
    }
    expect(old.cuts).toBe(0);
    await old.maildrop?.release();
  });
});

/** What a process leaves that was killed: a name, and nobody who listens. */
async function deadSocket(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(`${path}.live`, resolve));
  linkSync(`${path}.live`, path);
  await new Promise(resolve => server.close(resolve));
}
