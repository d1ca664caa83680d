/** For every file of this suite: nonces that can be told in advance. */
import { vi } from 'vitest';

vi.mock('node:crypto', async original => {
  const { nextNonce } = await import('./nonces.js');
  return { ...(await original<typeof import('node:crypto')>()), randomBytes: nextNonce };
});
