/** Deliveries in this process, to the mailbox of alice, through a disk of the test's choice. */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { loadHost } from '../../lib/host/load.js';
import { silentLog } from '../../lib/log.js';
import { type DeliveryDeps, type DeliverySettings, deliverTo } from '../../lib/maildrop/delivery.js';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { openRecoveryLock } from '../../lib/maildrop/recovery-lock.js';
import type { Spool } from './mailbox.js';

export const FROM_LINE = 'From bob@example.net Mon Jan  5 10:00:00 2026\n';

export type Overrides = Partial<DeliverySettings & Pick<DeliveryDeps, 'io' | 'stop' | 'tryRecoveryLock'>>;

/** Delivers a message that comes in these pieces, the last of which must end with an empty line. */
export async function deliverAlice(
  spool: Spool,
  pieces: readonly string[],
  overrides: Overrides = {},
): Promise<number> {
  const { io = nodeIo, stop = () => {}, ...settings } = overrides;
  const { host } = await loadHost();
  const dir = spool.runtimeDir;
  const lock = openRecoveryLock({ host, dir, perUser: false }, join(realpathSync(spool.dir), 'alice'));
  const { tryRecoveryLock = lock } = overrides;
  async function* octets() {
    for (const piece of pieces) yield Buffer.from(piece, 'latin1');
  }
  return deliverTo(
    'alice',
    { fromLine: () => Buffer.from(FROM_LINE), pieces: octets },
    { io, host, log: silentLog, stop, tryRecoveryLock },
    {
      spool: spool.dir,
      stateDir: spool.stateDir,
      locks: ['dotlock', 'fcntl'],
      lockTimeout: 100,
      owner: process.geteuid!(),
      mailGroup: undefined,
      ...settings,
    },
  );
}

export interface Call {
  readonly name: keyof SpoolIo;
  /** 1 for the first. */
  readonly number: number;
}

/** The real disk; `meddle` is asked before each call, and what it throws is what the call says. */
export function meddledIo(meddle: (call: Call) => void): SpoolIo {
  let number = 0;
  const before = (name: keyof SpoolIo) => meddle({ name, number: ++number });
  const names = Object.keys(nodeIo) as (keyof SpoolIo)[];
  const calls = names.map(name => [
    name,
    async (...args: unknown[]) => {
      before(name);
      return (nodeIo[name] as (...args: unknown[]) => unknown)(...args);
    },
  ]);
  return Object.fromEntries(calls);
}

export function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}
