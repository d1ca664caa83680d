/** Settings from flags: what they become, and how a wrong one is named. */
import { describe, expect, test } from 'vitest';
import { parseListenAddress } from '../../lib/config/listening.js';
import { settingsFrom } from '../../lib/config.js';
import { EX } from '../../lib/errors.js';

const WITH_USERS = { users: '/etc/users' };

test('defaults', () => {
  expect(settingsFrom(WITH_USERS)).toMatchObject({
    listen: [{ host: '127.0.0.1', port: 1110 }],
    spool: '/var/spool/mail',
    users: '/etc/users',
    readOnly: false,
    locks: ['dotlock', 'fcntl'],
    indexCache: 262_144,
    lockYield: 15_000,
    takeover: 60_000,
    lockTimeout: 20_000,
    loginTimeout: 60_000,
    idleTimeout: 600_000,
    failureDelay: 1000,
    maxConnections: 500,
    maxConnectionsPerAddress: 50,
    apop: false,
    last: false,
    logLevel: 'info',
  });
});

test.each<[Record<string, unknown>, object]>([
  [{ 'index-cache': '0' }, { indexCache: 0 }],
  [{ 'index-cache': '64' }, { indexCache: 65_536 }],
  [{ 'index-cache': 'no' }, { indexCache: Number.POSITIVE_INFINITY }],
  [{ 'lock-yield': '0' }, { lockYield: 0 }],
  [{ takeover: '0' }, { takeover: 0 }],
  [{ takeover: 'never' }, { takeover: 0 }],
  [{ 'lock-yield': 'never' }, { lockYield: Number.POSITIVE_INFINITY }],
  [{ 'lock-timeout': '0.5' }, { lockTimeout: 500 }],
  [{ 'idle-timeout': '600' }, { idleTimeout: 600_000 }],
  [{ locks: 'fcntl' }, { locks: ['fcntl'] }],
  [{ locks: 'flock, dotlock' }, { locks: ['dotlock', 'flock'] }],
  [{ 'state-dir': '/srv/pop3' }, { stateDir: '/srv/pop3', runtimeDir: '/srv/pop3/run' }],
  [
    { 'state-dir': '/srv/pop3', 'runtime-dir': '/run/x' },
    { stateDir: '/srv/pop3', runtimeDir: '/run/x' },
  ],
  [{ users: undefined }, { users: undefined, auth: ['system'], minUid: 1000 }],
  [{ auth: 'system users' }, { auth: ['system', 'users'] }],
  [{ 'idle-exit': '0' }, { idleExit: 0 }],
  [{ 'auth-cache': '0' }, { authCache: 0 }],
  [{ auth: 'pam,saslauthd' }, { auth: ['pam', 'saslauthd'], outside: { pamService: 'mbox-pop3d' } }],
  [
    { auth: 'checkpassword', checkpassword: '/bin/check  -f /etc/table ', 'auth-timeout': '2.5' },
    { outside: { checkpassword: ['/bin/check', '-f', '/etc/table'], timeout: 2500, atOnce: 4 } },
  ],
  [{ listen: ['[::1]:110', '*:0'] }, { listen: [{ host: '::1', port: 110 }, { port: 0 }] }],
])('%j', (raw, expected) => {
  expect(settingsFrom({ ...WITH_USERS, ...raw })).toMatchObject(expected);
});

test.each<[Record<string, unknown>, string]>([
  [{ users: '' }, '--users is missing'],
  [{ users: ['a', 'b'] }, '--users is given more than once'],
  [{ spool: '' }, '--spool is missing'],
  [{ listen: [] }, '--listen is empty'],
  [{ listen: ['127.0.0.1:65536'] }, '--listen 127.0.0.1:65536: not ADDRESS:PORT'],
  [{ auth: 'kerberos' }, '--auth kerberos: choose of users,system,pam,saslauthd,checkpassword'],
  [{ auth: 'checkpassword' }, '--checkpassword is missing'],
  [{ auth: 'checkpassword', checkpassword: 'bin/true' }, '--checkpassword bin/true: not an absolute path'],
  [{ 'pam-service': '../shadow' }, '--pam-service ../shadow: not the name of a file in /etc/pam.d'],
  [{ 'saslauthd-socket': '' }, '--saslauthd-socket is missing'],
  [{ 'auth-timeout': '0' }, '--auth-timeout 0: not a number of seconds of at least 1'],
  [{ 'auth-at-once': '0' }, '--auth-at-once 0: not a number of at least 1'],
  [{ locks: 'nonsense' }, '--locks nonsense: choose of dotlock,fcntl,flock'],
  [{ locks: ',' }, '--locks'],
  [{ takeover: '-1' }, '--takeover -1: not a number of seconds of at least 0'],
  [{ 'login-timeout': '2147484' }, '--login-timeout 2147484: more than 2147483 seconds'],
  [{ 'lock-yield': 'soon' }, '--lock-yield soon: not a number of seconds of at least 0'],
  [{ 'lock-timeout': '-1' }, '--lock-timeout -1'],
  [{ 'lock-timeout': '1e3' }, '--lock-timeout 1e3'],
  [{ 'lock-timeout': '' }, '--lock-timeout'],
  [{ 'lock-timeout': '0x10' }, '--lock-timeout 0x10'],
  [{ 'lock-timeout': '99999999' }, '--lock-timeout 99999999'],
  [{ 'index-cache': 'yes' }, '--index-cache yes: neither a number of KiB nor no'],
  [{ 'idle-timeout': '599.999' }, '--idle-timeout 599.999: not a number of seconds of at least 600'],
  [{ 'login-timeout': '0' }, '--login-timeout 0'],
  [{ 'deny-users': 'alice,bob.lock' }, '--deny-users bob.lock: not a user name'],
  [{ 'worker-timeout': '0.9' }, '--worker-timeout 0.9: not a number of seconds of at least 1'],
  [{ 'failure-delay': '1m' }, '--failure-delay 1m'],
  [{ 'max-connections': '0' }, '--max-connections 0'],
  [{ 'max-connections-per-address': '1.5' }, '--max-connections-per-address 1.5'],
  [{ 'log-level': 'loud' }, '--log-level loud: choose of error, warn, info, debug'],
])('%j is EX_USAGE', (raw, message) => {
  const wrong = () => settingsFrom({ ...WITH_USERS, ...raw });
  expect(wrong).toThrow(message);
  expect(wrong).toThrow(expect.objectContaining({ name: 'UsageError', exitCode: EX.USAGE }));
});

describe('addresses to listen on', () => {
  test.each<[string, string | undefined, number]>([
    ['127.0.0.1:110', '127.0.0.1', 110],
    ['[::1]:110', '::1', 110],
    ['[fe80::1%eth0]:110', 'fe80::1%eth0', 110],
    ['localhost:0', 'localhost', 0],
    ['*:65535', undefined, 65_535],
    [':110', undefined, 110],
    ['110', undefined, 110],
  ])('%s', (text, host, port) => {
    expect(parseListenAddress(text)).toEqual({ host, port });
  });

  test.each(['', 'localhost', '::1:110', '[::1]', '[::1]110', '[x]:110', 'a b:110', ':-1', ':1e3', '1:2:3'])(
    'not: %j',
    text => {
      expect(() => parseListenAddress(text)).toThrow('not ADDRESS:PORT');
    },
  );
});
