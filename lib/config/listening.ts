/** Where to listen, and with which TLS. */
import type { SecureVersion } from 'node:tls';
import { EX, UsageError } from '../errors.js';
import { flag, given, list, type RawOptions, required, seconds } from './raw-options.js';
import type { ListenAddress, Settings } from './settings.js';

/** The least version of TLS, as the sysadmin writes it, and as OpenSSL calls it. */
const TLS_VERSIONS: ReadonlyMap<string, SecureVersion> = new Map([
  ['1.0', 'TLSv1'],
  ['1.1', 'TLSv1.1'],
  ['1.2', 'TLSv1.2'],
  ['1.3', 'TLSv1.3'],
]);

const DEFAULT_LISTEN: ListenAddress = { host: '127.0.0.1', port: 1110, tlsMin: undefined };

/** `127.0.0.1:110`, `[::1]:110`, `localhost:110`, `*:110`, `:110` or `110`; with `/1.0`, TLS 1.0 will do. */
export function parseListenAddress(value: string, flag = 'listen'): ListenAddress {
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z]+)?)\]:|([^:/[\]\s]*):)?([0-9]{1,5})(?:\/(.*))?$/.exec(
    value,
  );
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new UsageError(`--${flag} ${value}: not ADDRESS:PORT (IPv6 as [::1]:110)`, EX.USAGE);
  }
  const host = match[1] ?? match[2];
  return {
    host: host === undefined || host === '' || host === '*' ? undefined : host,
    port,
    tlsMin: match[4] === undefined ? undefined : tlsVersion(`--${flag} ${value}`, match[4]),
  };
}

function tlsVersion(where: string, value: string): SecureVersion {
  const version = TLS_VERSIONS.get(value);
  if (version !== undefined) return version;
  throw new UsageError(
    `${where}: no version of TLS: choose of ${[...TLS_VERSIONS.keys()].join(', ')}`,
    EX.USAGE,
  );
}

export function tlsSettings(
  raw: RawOptions,
): Pick<Settings, 'listen' | 'tlsListen' | 'certificates' | 'tls' | 'tlsMin' | 'handshakeTimeout'> {
  const tlsListen = list(raw, 'tls-listen').map(value => parseListenAddress(value, 'tls-listen'));
  const listen = list(raw, 'listen').map(value => parseListenAddress(value));
  const [certs, keys] = [list(raw, 'tls-cert'), list(raw, 'tls-key')];
  if (keys.length > 0 && keys.length !== certs.length) {
    throw new UsageError(`${certs.length} of --tls-cert, but ${keys.length} of --tls-key`, EX.USAGE);
  }
  const tls = given(raw, 'tls') === undefined ? undefined : flag(raw, 'tls');
  if (certs.length === 0 && (tlsListen.length > 0 || tls === true)) {
    throw new UsageError('--tls-cert is missing', EX.USAGE);
  }
  return {
    listen: listen.length > 0 || tlsListen.length > 0 ? listen : [DEFAULT_LISTEN],
    tlsListen,
    certificates: certs.map((cert, i) => ({ cert, key: keys[i] ?? cert })),
    tls,
    tlsMin: tlsVersion('--tls-min', required(raw, 'tls-min')),
    handshakeTimeout: seconds(raw, 'handshake-timeout', 1),
  };
}
