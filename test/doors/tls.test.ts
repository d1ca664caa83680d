/**
 * TLS behind each door: the super-server hands over a socket that speaks TLS from the first octet, or POP3 with
 * STLS, and the key is one that only root can read, wherever we are started as root.
 */
import { chmodSync, chownSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { mustRun } from '../clients/programs.js';
import { filesOf } from '../support/tls/certificates.js';
import { testAsRoot } from './as-root.js';
import { DOORS, type Kind, openDoor } from './doors.js';
import { ALICE, MAIL, MAIL_OF_ALICE, PASSWORD, ScratchHost, SERVICE } from './scratch-host.js';

for (const kind of DOORS) {
  for (const how of ['implicit', 'stls'] as const) {
    testAsRoot([...kind.programs, 'curl'], `${kind.name}: ${how}`, async () => {
      const host = await ScratchHost.create();
      const own = kind.model === 'per-user';
      host.fill('alice', MAIL_OF_ALICE.join(''), { uid: ALICE.uid, gid: MAIL }, own ? 0o600 : 0o660);
      const [cert, key] = [join(host.root, 'cert.pem'), join(host.root, 'key.pem')];
      copyFileSync(filesOf('ec').cert, cert);
      copyFileSync(filesOf('ec').key, key);
      chmodSync(key, 0o600);
      chmodSync(cert, 0o644);
      if (kind.asService) chownSync(key, SERVICE.uid, SERVICE.gid);
      const flags = ['--idle-exit=1', '--tls-cert', cert, '--tls-key', key];
      if (how === 'implicit') flags.push('--tls');
      const { port } = await openDoor(kind, host, flags);
      const scheme = how === 'implicit' ? 'pop3s' : 'pop3';
      const curl = (path: string, ...args: string[]) =>
        mustRun('curl', [
          ...['-sS', '--ssl-reqd', '--cacert', cert, '-u', `alice:${PASSWORD}`, ...args],
          `${scheme}://127.0.0.1:${port}/${path}`,
        ]);
      expect((await curl('')).split('\r\n')).toHaveLength(MAIL_OF_ALICE.length + 1);
      await curl('2', '-l', '-X', 'DELE');
      expect(host.content('alice')).toBe(MAIL_OF_ALICE.filter((_, i) => i !== 1).join(''));
      if (kind.logs === 'syslog') await host.logged(/ login user=alice .* tls=TLSv1\.3/);
    });
  }
}

const byName: Kind | undefined = DOORS.find(({ name }) => name === 'systemd Accept=no, root');

testAsRoot(
  ['systemd-socket-activate', 'curl'],
  'a socket that systemd calls pop3s needs no --tls',
  async () => {
    const host = await ScratchHost.create();
    host.fill('alice', MAIL_OF_ALICE.join(''), { uid: ALICE.uid, gid: MAIL }, 0o660);
    const { cert, key } = filesOf('ec');
    const named: Kind = {
      ...byName!,
      command: (...args) =>
        byName!.command(...args).map(word => word.replace('--fdname=pop3', '--fdname=pop3s')),
    };
    const { port } = await openDoor(named, host, ['--idle-exit=1', '--tls-cert', cert, '--tls-key', key]);
    const args = ['-sS', '--cacert', cert, '-u', `alice:${PASSWORD}`, `pop3s://127.0.0.1:${port}/`];
    expect((await mustRun('curl', args)).split('\r\n')).toHaveLength(MAIL_OF_ALICE.length + 1);
  },
);
