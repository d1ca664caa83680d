/**
 * `mbox-pop3d deliver [-f SENDER] USER`: a delivery agent. Started by a mail server once a message, so it
 * loads neither yargs nor anything of POP3. In this order: who it is for; as root, becoming that user for
 * good; the whole message from standard input; the mailbox.
 *
 * Invariant: 0 means that the message is in the mailbox and on the disk. Anything that can pass, or that a
 * sysadmin can put right, is 75, for which every mail server tries again later: also a fault of this program,
 * and a setting, on the command line or in the environment, whose value is none. Only a command line that is none
 * (64) and a user who does not exist (67) return mail to its sender.
 */
import { realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isUserName } from '../auth/user-name.js';
import { DELIVER_OPTIONS, type RawOptions, type Settings, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import { createLog, type Log } from '../log.js';
import { deliverTo } from '../maildrop/delivery.js';
import { HeldMessage, QUOTINGS, type Quoting } from '../maildrop/held-message.js';
import { nodeIo } from '../maildrop/io.js';
import { openRecoveryLock, type TryRecoveryLock } from '../maildrop/recovery-lock.js';
import { DeliveryEnd } from './delivery-end.js';
import { parseFlags } from './flags.js';
import { becomeRecipient, findRecipient, type Recipient } from './recipient.js';
import { modelOf } from './state-dir.js';

interface Job {
  readonly user: string;
  /** Undefined: as the message itself says. */
  readonly sender: string | undefined;
  readonly quoting: Quoting;
  readonly settings: Settings;
}

/** Runs the command, then ends the process. */
export async function deliver(args: readonly string[]): Promise<never> {
  const end = new DeliveryEnd();
  try {
    // A ring of io_uring made before root is given up would keep root's rights (CVE-2024-22017).
    process.env.UV_USE_IO_URING = '0';
    process.umask(0o007);
    const job = readJob(args);
    end.user = job.user;
    const { host, degraded } = await loadHost();
    if (degraded !== undefined) throw new Error(`mailboxes cannot be locked on this host: ${degraded}`);
    host.openSyslog('mbox-pop3d');
    const log = createLog(line => host.syslog(Number(line[1]), line.slice(3).trimEnd()), {
      journal: true,
      threshold: job.settings.logLevel,
    });
    end.log = log;
    const recipient = await findRecipient(host, log, job.settings, job.user);
    await run(job, recipient, host, log, end);
  } catch (error) {
    return end.failed(error);
  }
  return end.delivered();
}

async function run(
  { user, sender, quoting, settings }: Job,
  recipient: Recipient,
  host: Host,
  log: Log,
  end: DeliveryEnd,
): Promise<void> {
  const tryRecoveryLock = recoveryLock(host, settings, user);
  const asSpoolGroup = await becomeRecipient(host, settings, recipient);
  const held = await HeldMessage.receive(process.stdin, { io: nodeIo, directory: tmpdir(), quoting });
  // A mail server's message has a header at least.
  if (held.size === 0) throw new Error('there is no message on standard input');
  const from = sender ?? held.envelopeSender ?? '';
  // From here on a lock may be ours, and the mailbox longer.
  end.unwindOnly();
  const octets = await deliverTo(
    user,
    held.messageFrom(from),
    { io: nodeIo, host, log, asSpoolGroup, tryRecoveryLock, stop: () => end.check() },
    { ...settings, owner: recipient.owner, mailGroup: recipient.mailGroup },
  );
  await held.close();
  log.write('info', '-', 'delivered', { user, sender: from, octets });
}

/**
 * Root may have it where the recipient may not; among the files of a service account root makes none. Undefined where
 * it is out of reach, for whatever reason: then nothing is recovered here, and the message is appended all the same.
 */
function recoveryLock(
  host: Host,
  { spool, stateDir, runtimeDir: dir }: Settings,
  user: string,
): TryRecoveryLock | undefined {
  try {
    const perUser = modelOf(stateDir) === 'per-user';
    if (process.geteuid?.() === 0 && !perUser) return undefined;
    return openRecoveryLock({ host, dir, perUser }, join(realpathSync(spool), user));
  } catch {
    return undefined;
  }
}

/** @throws UsageError EX_USAGE, or EX_NOUSER for a name that nobody can have */
function readJob(args: readonly string[]): Job {
  const { values, positionals } = parseFlags(DELIVER_OPTIONS, joinSender(args), true);
  const [user, ...more] = positionals;
  if (user === undefined || more.length > 0) {
    throw new UsageError('deliver [-f SENDER] USER: one user name is needed', EX.USAGE);
  }
  if (!isUserName(user)) throw new UsageError(`${JSON.stringify(user)} is no user name`, EX.NOUSER);
  const { from, quote } = values;
  return {
    user,
    sender: typeof from === 'string' ? from : undefined,
    quoting: quotingOf(quote),
    settings: readSettings(withoutOurOwn(values)),
  };
}

/** @throws UsageError EX_CONFIG: a typing error in a file of settings must not return everybody's mail */
function readSettings(values: RawOptions): Settings {
  try {
    return settingsFrom(values);
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    throw new UsageError(cause.message, EX.CONFIG, { cause });
  }
}

/** The value of `-f` is an address that anybody may have chosen: it is not to be taken for a flag. */
function joinSender(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === '--') return [...joined, ...args.slice(i)];
    if (arg === '-f' || arg === '--from') {
      if (i + 1 === args.length) throw new UsageError(`${arg}: the sender is missing`, EX.USAGE);
      joined.push(`--from=${args[++i]}`);
    } else if (/^-f./s.test(arg)) joined.push(`--from=${arg.slice(2)}`);
    else joined.push(arg);
  }
  return joined;
}

function quotingOf(value: unknown): Quoting {
  const name = value ?? DELIVER_OPTIONS.quote.default;
  const quoting = QUOTINGS.find(one => one === name);
  if (quoting === undefined)
    throw new UsageError(`--quote ${name}: choose of ${QUOTINGS.join(',')}`, EX.CONFIG);
  return quoting;
}

function withoutOurOwn({ from, quote, ...shared }: RawOptions): RawOptions {
  return shared;
}
