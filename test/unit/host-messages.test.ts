// syslog(3) and sd_notify(3), from a child to listeners in Python, which know both socket types.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { hostProgram, runHost } from '../support/host-child.js';
import { runPython } from '../support/run-python.js';

const canMount = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;
if (!canMount)
  console.warn('host-messages.test.ts: what syslog writes is not tested: it needs root and unshare(1)');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'host-messages-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const HOSTILE = 'C8 %s%n%d%x \u00e9 %%';

describe('syslog', () => {
  /** In a mount namespace: a /dev with null and a log that only root may open; prints what the log got. */
  const SYSLOGD = `
import json, os, socket, subprocess, sys
dev = sys.argv[1]
subprocess.run(['mount', '-t', 'tmpfs', 'none', dev], check=True)
open(dev + '/null', 'w').close()
subprocess.run(['mount', '--bind', '/dev/null', dev + '/null'], check=True)
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind(dev + '/log')
os.chmod(dev + '/log', 0o600)
subprocess.run(['mount', '--rbind', dev, '/dev'], check=True)
noise = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
log.setblocking(False)
lines = []
try:
    while True: lines.append(log.recv(65536).decode())
except BlockingIOError:
    print(json.dumps([noise, lines]))`;

  test.skipIf(!canMount)('C8: lines arrive as they are, after the drop of privileges too', () => {
    const hostile = JSON.stringify(HOSTILE);
    const body = `
      host.openSyslog('mbox-' + 'pop3d');
      if (globalThis.gc) gc();
      host.syslog(6, ${hostile});
      host.becomeMailUser({ name: 'carol', uid: 54321, gid: 54322 }, 54323);
      host.syslog(4, 'after');
      host.syslog(7, 'x'.repeat(4000));`;
    const program = ['python3', '-c', SYSLOGD, dir, process.execPath, '--expose-gc', ...hostProgram(body)];
    const { stdout, stderr } = spawnSync('unshare', ['-m', ...program], { encoding: 'utf8' });
    expect(stderr).toBe('');
    const [noise, lines] = JSON.parse(stdout) as [string, string[]];
    expect(noise).toBe('');
    // RFC 3164: facility mail (2) times 8 and the priority, a time, our name and pid.
    const texts = lines.map(line =>
      /^<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d mbox-pop3d\[\d+\]: (.*?)\n?$/.exec(line)?.slice(1),
    );
    expect(texts).toEqual([
      ['22', HOSTILE],
      ['20', 'after'],
      ['23', 'x'.repeat(4000)],
    ]);
  });

  test('writes nothing anywhere else, opened or not', () => {
    const body = `host.syslog(6, 'before'); host.openSyslog('mbox-pop3d'); host.syslog(6, ${JSON.stringify(HOSTILE)});`;
    expect(runHost(body)).toEqual({ printed: [], stderr: '', status: 0 });
  });

  test.each([-1, 8, 22, 1.5, Number.NaN])('%d is no priority', priority => {
    expect(() => linuxHost.syslog(priority, 'x')).toThrow(RangeError);
  });
});

describe('notify', () => {
  /** Listens, runs the program with NOTIFY_SOCKET set, prints what came and what the program printed. */
  const MANAGER = `
import json, os, socket, subprocess, sys
name = sys.argv[1]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind('\\0' + name[1:] if name[0] == '@' else name)
env = dict(os.environ, NOTIFY_SOCKET=name)
noise = subprocess.run(sys.argv[2:], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
manager.setblocking(False)
got = []
try:
    while True: got.append(manager.recv(65536).decode())
except BlockingIOError:
    print(json.dumps([noise, got]))`;

  const BODY = `
    host.notify('READY=1\\nSTATUS=serving \u00e9');
    print(process.env.NOTIFY_SOCKET ?? 'unset');
    process.env.NOTIFY_SOCKET = '/elsewhere';
    host.notify('STOPPING=1');`;

  test.each([
    ['a path', () => join(dir, 'notify')],
    ['an abstract name', () => `@${dir}/notify`],
    ['the longest abstract name', () => `@${dir}/notify`.padEnd(108, 'x')],
    ['the longest path', () => join(dir, 'notify').padEnd(107, 'x')],
  ])('reaches %s; the variable is remembered and taken away', async (_, name) => {
    const { stdout } = await runPython(MANAGER, name(), process.execPath, ...hostProgram(BODY));
    expect(JSON.parse(stdout)).toEqual(['"unset"\n', ['READY=1\nSTATUS=serving \u00e9', 'STOPPING=1']]);
  });

  test.each([
    ['unset', undefined],
    ['empty', ''],
    ['not an address', 'relative'],
    ['an abstract name of nothing', '@'],
    ['of another family', 'vsock:2:1234'],
    ['nobody there', '/nonexistent/notify'],
    ['nobody there, abstract', '@mbox-pop3d-nobody'],
    ['no socket', '/dev/null'],
    ['too long', `/${'x'.repeat(5000)}`],
  ])('nothing happens when it is %s', (_, NOTIFY_SOCKET) => {
    expect(runHost(BODY, { NOTIFY_SOCKET })).toEqual({ printed: ['unset'], stderr: '', status: 0 });
  });

  test('a manager that does not read holds nobody up for ever', async () => {
    // The queue of a datagram socket is full when its own writer would have to wait.
    const full = MANAGER.replace(
      'env =',
      `filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
filler.setblocking(False)
filler.connect(manager.getsockname())
try:
    while True: filler.send(b'full')
except BlockingIOError: pass
env =`,
    );
    const path = join(dir, 'notify');
    const body = `host.notify('READY=1'); print('done');`;
    const { stdout } = await runPython(full, path, process.execPath, ...hostProgram(body));
    const [noise, got] = JSON.parse(stdout) as [string, string[]];
    expect(noise).toBe('"done"\n');
    expect(got).not.toContain('READY=1');
  });

  test('a file that is no socket is not written to', () => {
    const path = join(dir, 'file');
    writeFileSync(path, '');
    expect(runHost(BODY, { NOTIFY_SOCKET: path })).toEqual({ printed: ['unset'], stderr: '', status: 0 });
  });
});

test('the portable host has none of these', () => {
  const host = createPortableHost();
  for (const call of [() => host.openSyslog('x'), () => host.syslog(6, 'x'), () => host.notify('READY=1')]) {
    expect(call).toThrow(/needs the native host/);
  }
});
