/**
 * The last column of a users file: `name=value` and bare names, separated by blanks, as Dovecot has it. Ours
 * are few; those of others are left to them.
 *
 *   pop3=no          no login by POP3 (Dovecot: nologin)
 *   readonly         DELE is refused
 *   allow_nets=...   only from these networks, separated by commas
 */
import { BadNetwork, Networks } from '../networks.js';
import type { Account } from '../pop3/ports.js';

export type Extra = Pick<Account, 'pop3' | 'readOnly' | 'allowNets'>;

/** @throws BadNetwork, or Error, for one of ours that cannot be understood: it may have kept somebody out */
export function readExtra(text: string): Extra {
  let extra: Extra = {};
  for (const field of text.split(/\s+/).filter(item => item !== '')) {
    const [name = '', value] = split(field);
    if (name === 'nologin') extra = { ...extra, pop3: false };
    else if (name === 'pop3') extra = { ...extra, pop3: isYes(name, value) };
    else if (name === 'readonly') extra = { ...extra, readOnly: isYes(name, value ?? 'yes') };
    else if (name === 'allow_nets') extra = { ...extra, allowNets: readNetworks(value) };
  }
  return extra;
}

function split(field: string): [string, string | undefined] {
  const at = field.indexOf('=');
  return at < 0 ? [field, undefined] : [field.slice(0, at), field.slice(at + 1)];
}

function isYes(name: string, value: string | undefined): boolean {
  if (value === 'yes') return true;
  if (value === 'no') return false;
  throw new Error(`${name} is neither yes nor no`);
}

function readNetworks(value = ''): string[] {
  const networks = value.split(',').filter(item => item !== '');
  if (networks.length === 0) throw new BadNetwork('allow_nets names no network');
  new Networks(networks); // Throws now, not at the login.
  return networks;
}
