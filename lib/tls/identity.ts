/**
 * A certificate and its key, checked: whom it is for, until when, and that both belong together. What
 * passes here can be used for handshakes.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { EX, UsageError } from '../errors.js';
import type { PemPair } from './pem-files.js';

export interface Identity {
  readonly pair: PemPair;
  /** Names of hosts in lower case; `*.example.org` is one of them. */
  readonly names: readonly string[];
  /** `rsa`, `ec`, ... */
  readonly keyType: string;
  readonly validTo: Date;
}

/** @throws UsageError EX_CONFIG, naming the file */
export function checkIdentity(pair: PemPair): Identity {
  const { cert, key } = pair.files;
  const certificate = parse(`certificate ${cert}: not in PEM form`, () => new X509Certificate(pair.cert));
  const encrypted = /ENCRYPTED/.test(pair.key.toString('latin1'));
  const trouble = encrypted ? 'is encrypted: decrypt it with "openssl pkey"' : 'not a key in PEM form';
  const privateKey = parse(`private key ${key}: ${trouble}`, () => createPrivateKey(pair.key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new UsageError(`private key ${key} is not that of certificate ${cert}`, EX.CONFIG);
  }
  return {
    pair,
    names: namesOf(certificate),
    keyType: privateKey.asymmetricKeyType ?? '',
    validTo: new Date(certificate.validTo),
  };
}

function parse<T>(trouble: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw new UsageError(trouble, EX.CONFIG, { cause });
  }
}

/** RFC 6125 §6.4.4: the common name counts only where there is no subjectAltName with a host. */
function namesOf({ subjectAltName = '', subject }: X509Certificate): string[] {
  const alternatives = [...subjectAltName.matchAll(/(?:^|, )DNS:([^,"]+)/g)].map(match => match[1]!);
  const names =
    alternatives.length > 0 ? alternatives : [/^CN=([A-Za-z0-9.*-]+)$/m.exec(subject)?.[1]].filter(isText);
  return [...new Set(names.map(name => name.toLowerCase()))];
}

function isText(text: string | undefined): text is string {
  return text !== undefined;
}
