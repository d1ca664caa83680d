/** Opens maildrops over a scratch spool, with the real host and the real disk unless told otherwise. */
import { loadHost } from '../../lib/host/load.js';
import { silentLog } from '../../lib/log.js';
import { nodeIo } from '../../lib/maildrop/io.js';
import { Spool as MailSpool } from '../../lib/maildrop/open.js';
import type { MaildropDeps, MaildropSettings } from '../../lib/maildrop/spool-settings.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { BUSY, type Spool } from './mailbox.js';

export const PEER = { address: '192.0.2.7', port: 40000 };

export type Overrides = Partial<
  MaildropSettings & Pick<MaildropDeps, 'io' | 'log' | 'kernel' | 'onDiskFailure' | 'indexMemory'>
>;

/** The spool as the program has it. */
export async function mailSpool(spool: Spool, overrides: Overrides = {}): Promise<MailSpool> {
  const { io = nodeIo, log = silentLog, kernel, onDiskFailure, indexMemory, ...settings } = overrides;
  const { host } = await loadHost();
  return new MailSpool(
    { io, host, log, kernel, onDiskFailure, indexMemory },
    {
      spool: spool.dir,
      stateDir: spool.stateDir,
      runtimeDir: spool.runtimeDir,
      readOnly: false,
      locks: ['dotlock', 'fcntl'],
      takeover: 0,
      lockTimeout: 100,
      lockYield: Number.POSITIVE_INFINITY,
      indexCache: Number.POSITIVE_INFINITY,
      ownerOf: () => process.geteuid!(),
      ...settings,
    },
  );
}

export async function openAlice(spool: Spool, overrides: Overrides = {}): Promise<Maildrop> {
  return (await mailSpool(spool, overrides)).open({ user: 'alice' }, PEER, BUSY);
}
