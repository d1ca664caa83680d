/** Scratch spools and mailbox files for tests. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Holder } from '../../lib/pop3/ports.js';

/** A session whose client is never silent. */
export const BUSY: Holder = { silence: () => 0, cut: () => {} };

/** A scratch directory that is gone after the test. */
export function scratchDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** One message as a delivery agent writes it, with the empty line after it. */
export function message(id: number | string, body = `This is message ${id}.\n`): string {
  return [
    `From sender${id}@example.com Mon Jan  5 10:00:00 2026\n`,
    `Return-Path: <sender${id}@example.com>\n`,
    `Message-ID: <${id}@example.com>\n`,
    `Subject: message ${id}\n`,
    '\n',
    body,
    '\n',
  ].join('');
}

/** Messages 1 to `count`, of different lengths. */
export function messages(count: number): string[] {
  return Array.from({ length: count }, (_, i) =>
    message(i + 1, `${'line\n'.repeat(i % 7)}This is ${i + 1}.\n`),
  );
}

export interface Spool {
  readonly dir: string;
  readonly mailbox: string;
  readonly stateDir: string;
  readonly runtimeDir: string;
  content(): string;
}

/** A spool with one mailbox file, `alice`, unless `content` is undefined. */
export function spoolWith(content: string | Buffer | undefined): Spool {
  const root = scratchDir();
  const [dir, stateDir, runtimeDir] = ['spool', 'state', 'run'].map(name => join(root, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [dir, stateDir, runtimeDir]) mkdirSync(path);
  const mailbox = join(dir, 'alice');
  if (content !== undefined) writeFileSync(mailbox, content, { mode: 0o600 });
  return { dir, mailbox, stateDir, runtimeDir, content: () => readFileSync(mailbox, 'latin1') };
}
