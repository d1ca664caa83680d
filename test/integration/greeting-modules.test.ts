/**
 * What a client of inetd waits for, by name: the modules that are loaded when the greeting goes out, and those
 * that are loaded before the first command. A new one makes every connection slower, so it stands here or it is
 * loaded later, by `import()`.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scratchDir } from '../support/mailbox.js';
import { Nowait } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT } from '../support/program.js';

const ROOT = new URL('../../', import.meta.url).pathname;

/** For the greeting. */
const FIRST = [
  'bin/mbox-pop3d',
  'lib/auth/user-name',
  'lib/cli/flags',
  'lib/cli/inetd',
  'lib/cli/state-dir',
  'lib/cli/stderr-log',
  'lib/cli/tls',
  'lib/config',
  'lib/config/accounts',
  'lib/config/listening',
  'lib/config/options',
  'lib/config/raw-options',
  'lib/config/settings',
  'lib/errors',
  'lib/host/load',
  'lib/log',
  'lib/maildrop/lock-methods',
  'lib/networks',
  'lib/pop3/mechanisms',
  'lib/pop3/reply',
  'lib/server/given',
  'lib/server/greeting',
  'lib/server/received',
];

/** For the session, while the greeting travels. */
const THEN = [
  'lib/cli/authenticator',
  'lib/cli/one-client',
  'lib/cli/per-user',
  'lib/cli/service-user',
  'lib/cli/spool-group',
  'lib/host/hashing-gate',
  'lib/host/ids',
  'lib/host/libc',
  'lib/host/linux',
  'lib/host/linux-cached-open',
  'lib/host/linux-cached-read',
  'lib/host/linux-crypt',
  'lib/host/linux-descriptors',
  'lib/host/linux-ids',
  'lib/host/linux-notify',
  'lib/host/linux-stat',
  'lib/host/linux-syslog',
  'lib/pop3/arguments',
  'lib/pop3/auth',
  'lib/pop3/authorization',
  'lib/pop3/capabilities',
  'lib/pop3/command',
  'lib/pop3/listing',
  'lib/pop3/multiline',
  'lib/pop3/request',
  'lib/pop3/sasl',
  'lib/pop3/sasl-cram-md5',
  'lib/pop3/sasl-password',
  'lib/pop3/sasl-scram',
  'lib/pop3/sasl-scram-messages',
  'lib/pop3/transaction',
  'lib/server/connection',
  'lib/server/limits',
  'lib/server/login',
  'lib/server/logins',
  'lib/server/output',
  'lib/server/peer',
  'lib/server/refusals',
  'lib/server/roster',
  'lib/server/sasl',
  'lib/server/send',
  'lib/server/session',
  'lib/server/session-log',
  'lib/server/session-services',
  'lib/server/silence',
  'lib/server/socket',
  'lib/server/stoppable',
  'lib/server/throttle',
  'lib/services',
];

/** Writes down what is loaded when the greeting is written. */
const WITNESS = `
const fs = require('node:fs');
const { writeSync } = fs;
fs.writeSync = (fd, ...rest) => {
  if (fd === 0) fs.writeFileSync(process.env.WITNESS, JSON.stringify(Object.keys(require.cache)));
  return writeSync(fd, ...rest);
};`;

test('one connection: these modules, koffi, and nothing else before the login', async () => {
  const root = scratchDir();
  chmodSync(root, 0o755);
  const coverage = join(root, 'coverage');
  for (const name of ['coverage', 'spool']) mkdirSync(join(root, name));
  // Where there is an account for it, the process parses, and so ends here, as that.
  chmodSync(coverage, 0o1777);
  const [witness, atGreeting] = [join(root, 'witness.cjs'), join(root, 'at-greeting')];
  writeFileSync(witness, WITNESS);
  const flags = ['--spool', join(root, 'spool'), '--state-dir', join(root, 'state')];
  const program = ['--require', witness, join(ROOT, 'dist/bin/mbox-pop3d.js')];
  const door = await Nowait.start([process.execPath, ...program, ...flags], {
    env: { NODE_V8_COVERAGE: coverage, WITNESS: atGreeting },
  });
  const client = await Pop3Client.greeted(door.port);
  await client.ok('QUIT');
  expect(await client.rest()).toBe('');
  expect(await door.exits()).toEqual([0]);

  const first: string[] = JSON.parse(readFileSync(atGreeting, 'utf8'));
  expect(
    first
      .filter(file => file !== witness)
      .flatMap(modulesOf)
      .sort(),
  ).toEqual(FIRST);
  const loaded = modulesIn(coverage);
  const dist = new URL('dist/', `file://${ROOT}`).href;
  const ours = loaded.filter(url => url.startsWith(dist)).map(url => new URL(url).pathname);
  expect(ours.flatMap(modulesOf).sort()).toEqual([...FIRST, ...THEN].sort());
  // What koffi makes Node.js load is not ours to save.
  const ofKoffi = modulesOfKoffi(root);
  const packages = loaded.filter(url => url.includes('/node_modules/'));
  expect(new Set(packages.map(packageOf))).toEqual(
    new Set(['koffi', expect.stringMatching(/^@koromix\/koffi-/)]),
  );
  expect(loaded.filter(isHeavy).filter(url => !ofKoffi.includes(url))).toEqual([]);
  // As root it is the process that becomes its client's user, with all that takes.
  expect(readFileSync(join(root, 'state/model'), 'latin1')).toBe(IS_ROOT ? 'per-user\n' : 'shared\n');
});

/** Parts of Node.js that take long to load. */
const isHeavy = (url: string) => /^node:_?(tls|crypto|https?|child_process|worker_threads|zlib)/.test(url);

/** What is loaded by a program that has koffi and nothing of ours. */
function modulesOfKoffi(root: string): string[] {
  const coverage = join(root, 'koffi');
  const program = `require(${JSON.stringify(join(ROOT, 'node_modules/koffi'))})`;
  execFileSync(process.execPath, ['--eval', program], {
    env: { ...process.env, NODE_V8_COVERAGE: coverage },
  });
  return modulesIn(coverage);
}

/** Of the reports that V8 writes when a process ends: every script it had. */
function modulesIn(coverage: string): string[] {
  return readdirSync(coverage).flatMap(name => {
    const report: { result: { url: string }[] } = JSON.parse(readFileSync(join(coverage, name), 'utf8'));
    return report.result.map(({ url }) => url);
  });
}

/** Of a file of the bundle: the modules it was made of, as it says itself. */
function modulesOf(file: string): string[] {
  const [, list = ''] = /^\/\/ Made by build\/bundle.mjs of (.*)$/m.exec(readFileSync(file, 'utf8')) ?? [];
  expect(list, file).not.toBe('');
  return [...list.matchAll(/(\S+)\.ts/g)].map(match => match[1]!);
}

function packageOf(url: string): string {
  const path = url.slice(url.lastIndexOf('/node_modules/') + '/node_modules/'.length);
  return path.split('/', path.startsWith('@') ? 2 : 1).join('/');
}
