/**
 * The command line: yargs parses it, one module a command does the work. A mistake is one line on
 * stderr and an exit code of sysexits(3).
 */
import { readFileSync } from 'node:fs';
import { DELIVER_OPTIONS, fromEnvironment, OPTIONS, type OptionRow } from '../config.js';
import { EX, UsageError } from '../errors.js';
import { packageFile } from './package.js';
import { userCommand } from './user-options.js';

/** Flags of `serve` that also make sense for `demo`. */
const DEMO_OPTIONS = [
  'listen',
  'tls-listen',
  'tls-cert',
  'tls-key',
  'tls-min',
  'handshake-timeout',
  'read-only',
  'locks',
  'lock-timeout',
  'lock-yield',
  'takeover',
  'login-timeout',
  'idle-timeout',
  'failure-delay',
  'max-failure-delay',
  'max-waiting-logins',
  'max-login-failures',
  'apop',
  'plaintext',
  'sasl-mechanisms',
  'last',
  'kernel',
  'log-level',
] as const satisfies (keyof typeof OPTIONS)[];

/** Those that say where everything is and who we are. */
const RECOVER_OPTIONS = [
  'spool',
  'users',
  'state-dir',
  'runtime-dir',
  'user',
  'group',
  'locks',
  'lock-timeout',
  'log-level',
] as const satisfies (keyof typeof OPTIONS)[];

/** Those that say where everything is. */
const CHECK_OPTIONS = [
  'spool',
  'users',
  'state-dir',
  'runtime-dir',
  'locks',
] as const satisfies (keyof typeof OPTIONS)[];

type YargsRows = Record<string, OptionRow & { requiresArg: boolean }>;

/** Runs one command; sets the exit code. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    await (await parser(args)).parseAsync();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`mbox-pop3d: ${error.message}\n`);
    process.exitCode = error.exitCode;
  }
}

async function parser(args: readonly string[]) {
  // Not by a static import: the bundle is CommonJS, yargs is not.
  const { default: yargs } = await import('yargs');
  const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string };
  return yargs([...args])
    .scriptName('mbox-pop3d')
    .usage(
      '$0 [COMMAND]\n\nThe flat-file mbox POP3 server. See mbox-pop3d(8).\n' +
        'Without a command it serves the socket that inetd or systemd has given it.',
    )
    .command(
      'serve',
      'serve a mail spool, in the foreground',
      builder => builder.options(select(Object.keys(OPTIONS) as (keyof typeof OPTIONS)[])),
      async argv => (await import('./serve.js')).serve(argv),
    )
    .command(
      'demo',
      'serve a scratch copy of the example mailboxes',
      builder => builder.options(select(DEMO_OPTIONS)),
      async argv => (await import('./demo.js')).demo(argv),
    )
    .command(
      'recover [mailbox..]',
      'finish interrupted updates, of all mailboxes or of those named',
      builder =>
        builder
          .positional('mailbox', { type: 'string', array: true, describe: 'name of its user' })
          .options(select(RECOVER_OPTIONS)),
      async argv =>
        (await import('./recover.js')).recoverCommand(argv, (argv.mailbox as string[] | undefined) ?? []),
    )
    .command(
      'check [mailbox..]',
      'tell what stands in the way of logins and deliveries, and the remedy',
      builder =>
        builder
          .positional('mailbox', { type: 'string', array: true, describe: 'name of its user' })
          .options(select(CHECK_OPTIONS)),
      async argv =>
        (await import('./check.js')).checkCommand(argv, (argv.mailbox as string[] | undefined) ?? []),
    )
    .command(
      'deliver <user>',
      'append the message on standard input to a mailbox, for a mail server; see mbox-pop3d-deliver(8)',
      builder => builder.positional('user', { type: 'string' }).options(rows(DELIVER_OPTIONS)),
      // It is run by the command itself, without yargs; what comes here is --help only.
      async () => (await import('./deliver.js')).deliver(args.slice(1)),
    )
    .command('user', 'manage the accounts of a users file', builder =>
      userCommand(builder, select(['users', 'spool'])),
    )
    .parserConfiguration({ 'camel-case-expansion': false, 'parse-numbers': false, 'greedy-arrays': false })
    .demandCommand(1, 'a command is needed: serve, demo, recover, check, deliver or user (see --help)')
    .strict()
    .version(version)
    .help()
    .wrap(null)
    .exitProcess(false)
    .fail((message, error) => {
      if (error instanceof UsageError || !message) throw error;
      const help = message.startsWith('Unknown') ? ' (see --help)' : '';
      throw new UsageError(`${message}${help}`, EX.USAGE);
    });
}

function select(names: readonly (keyof typeof OPTIONS)[]): YargsRows {
  return rows(Object.fromEntries(names.map(name => [name, OPTIONS[name]])));
}

/** Rows for yargs; what the environment sets stands in for the default, so that `--help` shows it. */
function rows(table: Readonly<Record<string, OptionRow>>): YargsRows {
  return Object.fromEntries(
    Object.entries(table).map(([name, row]) => {
      const fallback = fromEnvironment(name, row) ?? row.default;
      return [
        name,
        { ...row, ...(fallback !== undefined && { default: fallback }), requiresArg: row.type !== 'boolean' },
      ];
    }),
  );
}
