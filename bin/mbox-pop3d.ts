#!/usr/bin/env node
/**
 * The command. Started by inetd or systemd there is no command, and a client waits: that way does not load
 * yargs. Everything is in lib/cli.
 */
const args = process.argv.slice(2);
const [first] = args;
const byDescriptor =
  first === undefined || (first.startsWith('-') && !['--help', '--version'].includes(first));

if (byDescriptor || first === 'inetd') {
  const { inetd } = await import('../lib/cli/inetd.js');
  await inetd(byDescriptor ? args : args.slice(1), !byDescriptor);
} else {
  const { main } = await import('../lib/cli/main.js');
  await main(args);
}

export {};
