/** The certificates that `make.sh` has made, and clients that speak TLS. */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { CertificateFiles, PemPair } from '../../../lib/tls/pem-files.js';

const HERE = new URL('.', import.meta.url).pathname;

export type CertificateName = 'rsa' | 'ec' | 'renewed' | 'other';

export function filesOf(name: CertificateName): CertificateFiles {
  return { cert: join(HERE, `${name}.crt`), key: join(HERE, `${name}.key`) };
}

/** The files and what is in them. */
export function pairOf(name: CertificateName): PemPair {
  const files = filesOf(name);
  return { files, cert: readFileSync(files.cert), key: readFileSync(files.key), exposed: false };
}

export const ENCRYPTED_KEY = join(HERE, 'encrypted.key');

/** Copies a certificate and its key to where a server reads them; a file that is there keeps its mode. */
export function install(name: CertificateName, { cert, key }: CertificateFiles): void {
  const pair = pairOf(name);
  writeFileSync(cert, pair.cert);
  writeFileSync(key, pair.key, { mode: 0o600 });
}

/** The common name of the certificate a server has shown: the name of its files. */
export function shownBy(socket: TLSSocket): string {
  return String(socket.getPeerCertificate().subject.CN);
}

/** A handshake with whatever certificate. Destroyed after the test. Rejects with what ended it. */
export async function tlsConnect(
  target: { port: number } | { socket: Socket },
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const socket = connect({
    ...('port' in target ? { port: target.port, host: '127.0.0.1' } : target),
    rejectUnauthorized: false,
    ...options,
  });
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}
