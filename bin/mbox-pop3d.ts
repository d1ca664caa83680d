#!/usr/bin/env node
/**
 * The command. Started by inetd or systemd there is no command, and a client waits: that way does not load
 * yargs, nor does `deliver`, which a mail server starts for each message. Everything is in lib/cli.
 */
const args = process.argv.slice(2);
const [first] = args;
const byDescriptor =
  first === undefined || (first.startsWith('-') && !['--help', '--version'].includes(first));

async function run(): Promise<void> {
  if (byDescriptor || first === 'inetd') {
    const { inetd } = await import('../lib/cli/inetd.js');
    await inetd(byDescriptor ? args : args.slice(1), !byDescriptor);
  } else if (first === 'deliver' && args[1] !== '--help') {
    // Mail servers return mail for most exit codes: a fault of the installation is to be tried again, 75.
    process.exitCode = 75;
    const { deliver } = await import('../lib/cli/deliver.js').catch(error => {
      process.stderr.write(`mbox-pop3d: ${error}\n`);
      process.exit();
    });
    await deliver(args.slice(1));
  } else {
    const { main } = await import('../lib/cli/main.js');
    await main(args);
  }
}

run();

export {};
