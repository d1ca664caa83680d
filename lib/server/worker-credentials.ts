/**
 * Credentials on their way from a worker to the process that checks them (worker-frames.ts): what is no text, such as
 * names and passwords, is in the octets of a message, one after the other, their lengths in its head.
 */
import type { Credentials } from '../pop3/authorization.js';
import type { ScramMethod } from '../pop3/ports.js';
import { BadMessage, countOf, type Head, textOf } from './worker-frames.js';

const PASSWORD: ReadonlySet<string> = new Set(['USER', 'PLAIN', 'LOGIN']);
const DIGEST: ReadonlySet<string> = new Set(['APOP', 'CRAM-MD5']);
const SCRAM: ReadonlySet<string> = new Set<ScramMethod>(['SCRAM-SHA-1', 'SCRAM-SHA-256']);

/** @returns octets to be wiped by the caller: there may be a password in them */
export function writeCredentials(credentials: Credentials): { readonly head: Head; readonly octets: Buffer } {
  const { method, user } = credentials;
  const about = { method, length: user.length };
  if ('refused' in credentials)
    return { head: { ...about, refused: credentials.refused }, octets: Buffer.from(user) };
  if ('password' in credentials) return { head: about, octets: Buffer.concat([user, credentials.password]) };
  if ('digest' in credentials) {
    const { challenge, digest } = credentials;
    return { head: { ...about, challenge, digest }, octets: Buffer.from(user) };
  }
  const { authMessage, clientProof } = credentials;
  const head = { ...about, messageLength: authMessage.length };
  return { head, octets: Buffer.concat([user, authMessage, clientProof]) };
}

/** @returns with octets that are those of the message. @throws BadMessage */
export function readCredentials(head: Head, octets: Buffer): Credentials {
  const method = textOf(head, 'method');
  const [user, rest] = split(octets, countOf(head, 'length'));
  if (head.refused !== undefined) return { method, user, refused: textOf(head, 'refused') };
  if (PASSWORD.has(method)) return { method: method as 'USER' | 'PLAIN' | 'LOGIN', user, password: rest };
  if (DIGEST.has(method)) {
    const [challenge, digest] = [textOf(head, 'challenge'), textOf(head, 'digest')];
    return { method: method as 'APOP' | 'CRAM-MD5', user, challenge, digest };
  }
  const [authMessage, clientProof] = split(rest, countOf(head, 'messageLength'));
  return { method: scramMethodOf(head), user, authMessage, clientProof };
}

/** @throws BadMessage */
export function scramMethodOf(head: Head): ScramMethod {
  const method = textOf(head, 'method');
  if (!SCRAM.has(method)) throw new BadMessage('no such method');
  return method as ScramMethod;
}

function split(octets: Buffer, length: number): [Buffer, Buffer] {
  if (length > octets.length) throw new BadMessage('length is beyond the end');
  return [octets.subarray(0, length), octets.subarray(length)];
}
