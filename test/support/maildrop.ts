/** Opens maildrops over a scratch spool, with the real host and the real disk unless told otherwise. */
import { loadHost } from '../../lib/host/load.js';
import { silentLog } from '../../lib/log.js';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { type MaildropSettings, maildropOpener } from '../../lib/maildrop/open.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import type { Spool } from './mailbox.js';

export const PEER = { address: '192.0.2.7', port: 40000 };

export async function openAlice(
  spool: Spool,
  overrides: Partial<MaildropSettings> & { io?: SpoolIo } = {},
): Promise<Maildrop> {
  const { io = nodeIo, ...settings } = overrides;
  const { host } = await loadHost();
  const open = maildropOpener(
    { io, host, log: silentLog },
    {
      spool: spool.dir,
      stateDir: spool.stateDir,
      runtimeDir: spool.runtimeDir,
      readOnly: false,
      locks: ['dotlock', 'fcntl'],
      lockTimeout: 100,
      lockYield: Number.POSITIVE_INFINITY,
      ownerOf: () => process.geteuid!(),
      ...settings,
    },
  );
  return open({ user: 'alice' }, PEER);
}
