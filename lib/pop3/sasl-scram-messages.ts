/**
 * The messages of SCRAM as text. RFC 5802 §7. Texts here are latin1: a character is an octet.
 *
 * Invariant: a message is taken only in the order and number of attributes that the grammar has; an
 * attribute that is there twice, or in another place, makes it no message.
 */
import { BadRequest } from '../errors.js';
import { decodeBase64 } from './sasl.js';

export interface ClientFirst {
  /** To be repeated in the final message. */
  readonly gs2Header: string;
  readonly authzid: Uint8Array;
  readonly user: Uint8Array;
  readonly nonce: string;
  /** What AuthMessage begins with. */
  readonly bare: string;
}

export interface ClientFinal {
  readonly gs2Header: string;
  readonly nonce: string;
  readonly proof: Uint8Array;
  /** What AuthMessage ends with. */
  readonly withoutProof: string;
}

/** `attr-val`, with a name and a value. */
const ATTRIBUTE = /^([A-Za-z])=([^\0,]+)$/s;
/** `printable`: all but the comma. */
const NONCE = /^[\x21-\x2b\x2d-\x7e]+$/;
/** Of the attributes that come in a place of their own, none can be an extension. */
const RESERVED = 'acmnprsvie';

/** @throws BadRequest */
export function readClientFirst(message: Uint8Array): ClientFirst {
  const [flag = '', authzid = '', ...attributes] = Buffer.from(message).toString('latin1').split(',');
  // RFC 5802 §6: `y` is a client that could bind the channel and believes that we cannot, which is so.
  if (flag.startsWith('p=')) throw new BadRequest('channel binding is not supported');
  if (flag !== 'n' && flag !== 'y') throw new BadRequest('not a SCRAM message');
  // RFC 5802 §5.1: `m=` stands first, and is an extension that must be understood.
  const [user, nonce, ...extensions] = attributes;
  mustBeExtensions(extensions);
  return {
    gs2Header: `${flag},${authzid},`,
    authzid: authzid === '' ? new Uint8Array() : saslname(value('a', authzid)),
    user: saslname(value('n', user)),
    nonce: printable(value('r', nonce)),
    bare: attributes.join(','),
  };
}

/** @throws BadRequest */
export function readClientFinal(message: Uint8Array): ClientFinal {
  const attributes = Buffer.from(message).toString('latin1').split(',');
  const proof = decodeBase64(value('p', attributes.pop()));
  const [binding, nonce, ...extensions] = attributes;
  const gs2Header = decodeBase64(value('c', binding));
  if (proof === undefined || gs2Header === undefined) throw new BadRequest('not a SCRAM message');
  mustBeExtensions(extensions);
  return {
    gs2Header: gs2Header.toString('latin1'),
    nonce: printable(value('r', nonce)),
    proof,
    withoutProof: attributes.join(','),
  };
}

/** RFC 5802 §5.1: those that are not known are passed over. */
function mustBeExtensions(attributes: readonly string[]): void {
  const seen = new Set(RESERVED);
  for (const attribute of attributes) {
    const name = ATTRIBUTE.exec(attribute)?.[1];
    if (name === undefined || seen.has(name)) throw new BadRequest('not a SCRAM message');
    seen.add(name);
  }
}

function value(name: string, attribute = ''): string {
  const match = ATTRIBUTE.exec(attribute);
  if (match?.[1] !== name || match[2] === undefined) throw new BadRequest('not a SCRAM message');
  return match[2];
}

function printable(nonce: string): string {
  if (!NONCE.test(nonce)) throw new BadRequest('not a SCRAM message');
  return nonce;
}

/** RFC 5802 §5.1: `=2C` and `=3D` are a comma and an equals sign, which has no other use. */
function saslname(text: string): Uint8Array {
  if (/=(?!2C|3D)/.test(text)) throw new BadRequest('not a SCRAM user name');
  return Buffer.from(text.replaceAll('=2C', ',').replaceAll('=3D', '='), 'latin1');
}
