/**
 * The clients of a Debian host, with TLS from the first octet and by STLS, each checking our certificate: what
 * they download and delete is what they download and delete without.
 */
import { spawnSync } from 'node:child_process';
import { describe, expect } from 'vitest';
import type { Client } from '../clients/client.js';
import { CURL } from '../clients/curl.js';
import { Expected } from '../clients/expected.js';
import { FETCHMAIL, MPOP } from '../clients/fetchers.js';
import { PERL_NET_POP3, PYTHON_POPLIB } from '../clients/libraries.js';
import { mustRun, testWith } from '../clients/programs.js';
import { MUTT, NAIL } from '../clients/readers.js';
import { passwordOf, type RunningServer, startServer, underTls } from '../clients/server.js';
import { filesOf } from '../support/tls/certificates.js';

const USER = 'judy';
const { cert, key } = filesOf('rsa');
const FLAGS = ['--tls-listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key];
const CLIENTS: readonly Client[] = [CURL, PYTHON_POPLIB, PERL_NET_POP3, FETCHMAIL, MPOP, MUTT, NAIL];

/** A module that is missing is told like a program that is not installed. */
const HAS_MODULE = spawnSync('perl', ['-MIO::Socket::SSL', '-e', '1']).status === 0;
const PERL_PROGRAMS = HAS_MODULE ? ['perl'] : ['IO::Socket::SSL'];

describe.each(['implicit', 'stls'] as const)('%s', how => {
  for (const client of CLIENTS) {
    testWith(client === PERL_NET_POP3 ? PERL_PROGRAMS : client.programs, client.name, async () => {
      const plain = await startServer(...FLAGS);
      const server = underTls(plain, { how, ca: cert });
      // Net::POP3 makes LF of CRLF, but not of what comes through TLS.
      const form = client === PERL_NET_POP3 ? 'wire' : client.form;
      expect(await client.download(server, USER)).toEqual(new Expected(USER)[form]);
      await client.remove(underTls(await startServer(...FLAGS), { how, ca: cert }), USER, client.removes);
      await plain.stop();
      // Not one login without TLS.
      const logins = plain.stderr().match(/ login user=.*/g) ?? [];
      expect(logins.length).toBeGreaterThan(0);
      for (const login of logins) expect(login).toMatch(/ tls=TLSv1\.[23]$/);
      expect(plain.stderr()).not.toMatch(/tls-failed| error /);
    });
  }

  testWith(['openssl'], 'openssl s_client', async () => {
    const server = await startServer(...FLAGS);
    const session = await sClient(underTls(server, { how, ca: cert }), [
      '-verify_return_error',
      '-CAfile',
      cert,
    ]);
    expect(session).toContain('Verify return code: 0 (ok)');
    expect(session).toMatch(/\+OK maildrop has 16 messages/);
    expect(session).toMatch(/\+OK mbox-pop3d signing off/);
  });
});

/** A session of a person with openssl(1). */
async function sClient(server: RunningServer, flags: readonly string[]): Promise<string> {
  const { port, tls } = server;
  const starttls = tls?.how === 'stls' ? ['-starttls', 'pop3'] : [];
  const lines = [`USER ${USER}`, `PASS ${passwordOf(USER)}`, 'STAT', 'QUIT'];
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost', '-crlf', '-ign_eof'];
  return mustRun('openssl', [...args, ...starttls, ...flags], {
    input: lines.map(line => `${line}\n`).join(''),
  });
}
