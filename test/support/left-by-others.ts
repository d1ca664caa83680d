/** What mail programs leave in a spool that is no mailbox, although many of the names could be a user's. */
import { hostname } from 'node:os';

/** A name of each. */
export function leftByOthers(user: string): string[] {
  return [
    `${user}.lock.mail.example.org.6741a2c5.0000445e`,
    `${user}.lock.1795343239.17503.mail`,
    `${user}.${hostname()}.17954`,
    '_gVE.n-tArB.mail',
    '.lk177698mail',
    '.temp.mail.17971.0123abcd',
    `BOGUS.${user}.uBx`,
    `.${user}.pop`,
    `.${user}.cache`,
    '.nfs0000000000a3b5c700000012',
    'lost+found',
  ];
}
