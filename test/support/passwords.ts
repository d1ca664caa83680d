/** Passwords against stored fields, by what a login asks. */
import { type Crypt, comparePassword } from '../../lib/auth/password.js';
import { readSecret } from '../../lib/auth/secret.js';

/** Whether `stored` is a field of this password. */
export async function verifyPassword(host: Crypt, password: Uint8Array, stored: string): Promise<boolean> {
  return (await comparePassword(host, password, readSecret(stored))) === 'right';
}
