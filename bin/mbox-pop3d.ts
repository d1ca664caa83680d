#!/usr/bin/env node
/**
 * The command. Everything is in lib/cli; a run mode that must start fast will branch off here before
 * yargs is loaded.
 */
import { main } from '../lib/cli/main.js';

await main(process.argv.slice(2));
