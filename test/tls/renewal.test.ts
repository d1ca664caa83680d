/**
 * Certificates that are replaced while clients connect all the time, with TLS 1.2 and 1.3, resumed and not: no
 * handshake fails. And what SIGHUP means to a process with a terminal, and to one without.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { expect, test } from 'vitest';
import { mustRun, testWith } from '../clients/programs.js';
import { startServer } from '../clients/server.js';
import { scratchDir } from '../support/mailbox.js';
import { IS_ROOT } from '../support/program.js';
import { type CertificateName, filesOf, shownBy, tlsConnect } from '../support/tls/certificates.js';

const SWAPS = 50;
const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;

test(`${SWAPS} new certificates, by SIGHUP and by themselves: no handshake fails`, async () => {
  const dir = scratchDir();
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  const put = (name: CertificateName) => {
    const from = filesOf(name);
    // Key first: for a moment they do not belong together.
    for (const [source, target] of [
      [from.key, key],
      [from.cert, cert],
    ] as const) {
      copyFileSync(source, `${target}.new`);
      chmodSync(`${target}.new`, 0o644);
      renameSync(`${target}.new`, target);
    }
  };
  // The server becomes an ordinary user, who has to read what is new.
  if (IS_ROOT) execFileSync('chown', ['nobody', dir]);
  put('ec');
  const flags = ['--tls-listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key];
  const server = await startServer(...flags, '--max-connections-per-address', '500');
  let over = false;
  const seen = new Map<string, number>();
  const failed: unknown[] = [];
  let resumed = 0;
  let tries = 0;
  const client = async (options: ConnectionOptions) => {
    let session: Buffer | undefined;
    while (!over) {
      try {
        const socket = await tlsConnect(
          { port: server.tlsPort },
          { ...options, ...(session && { session }) },
        );
        // The greeting: the handshake is done on both sides.
        await once(socket, 'data');
        if (socket.isSessionReused()) resumed++;
        else seen.set(shownBy(socket), (seen.get(shownBy(socket)) ?? 0) + 1);
        session = options.maxVersion === 'TLSv1.2' && Math.random() < 0.5 ? socket.getSession() : undefined;
        socket.destroy();
      } catch (error) {
        failed.push(error);
      }
      tries++;
    }
  };
  const clients = [
    ...Array.from({ length: 4 }, () => client({ maxVersion: 'TLSv1.2' })),
    ...Array.from({ length: 4 }, () => client({ minVersion: 'TLSv1.3' })),
  ];
  const installed = () => server.stderr().match(/ certificate cert=/g)?.length ?? 0;
  for (let i = 1; i <= SWAPS; i++) {
    const before = installed();
    put(i % 2 === 0 ? 'ec' : 'renewed');
    // Every fifth is left to be noticed.
    if (i % 5 !== 0) process.kill(server.pid, 'SIGHUP');
    while (installed() === before) await sleep(10);
    // For some handshakes of each client, however long they take.
    for (const enough = tries + 2 * clients.length; tries < enough; ) await sleep(10);
  }
  over = true;
  await Promise.all(clients);
  const handshakes = [...seen.values()].reduce((sum, count) => sum + count, resumed);
  process.stderr.write(`renewal: ${handshakes} handshakes, ${resumed} resumed, ${failed.length} failed\n`);
  expect(failed).toEqual([]);
  expect([...seen.keys()].sort()).toEqual(['ec', 'renewed']);
  expect(resumed).toBeGreaterThan(0);
  const log = server.stderr();
  // A late SIGHUP may meet a pair of which one is replaced: that is said, and the old pair serves on.
  expect(
    log.match(/.* (?:tls-failed|error) .*/g)?.filter(line => !line.includes('certificate-kept')) ?? [],
  ).toEqual([]);
});

testWith(['script'], 'SIGHUP ends a server whose terminal is gone', async () => {
  const dir = scratchDir();
  const spool = join(dir, 'spool');
  const flags = `--spool ${spool} --users ${join(dir, 'users')} --state-dir ${join(dir, 'state')} --listen 127.0.0.1:0`;
  writeFileSync(join(dir, 'users'), 'alice:{PLAIN}x:65534:65534\n');
  await mustRun('mkdir', [spool]);
  const identity = IS_ROOT ? '--user nobody --group nogroup' : '';
  const ready = join(dir, 'ready');
  const serve = `${process.execPath} ${PROGRAM} serve ${flags} ${identity} > ${ready} &`;
  const run = `${serve} until [ -s ${ready} ]; do sleep 0.1; done; kill -HUP $!; wait $!; echo ended $?`;
  await mustRun('script', ['-qec', `sh -c '${run}'`, join(dir, 'typescript')]);
  const said = readFileSync(join(dir, 'typescript'), 'utf8');
  expect(said).toMatch(/ stopping cause=SIGHUP /);
  expect(said).toMatch(/ended 0/);
});
