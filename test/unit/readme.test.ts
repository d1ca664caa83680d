/** The example of the README is a program: it is run as a reader would, with plain node. */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { scratchDir } from '../support/mailbox.js';

const root = new URL('../../', import.meta.url).pathname;
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const blocks = (language: string) =>
  [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(block => block[1] === language)
    .map(block => block[2]!);

test('the library example runs', async () => {
  const [example, ...more] = blocks('js');
  expect(more).toEqual([]);
  const dir = scratchDir();
  mkdirSync(join(dir, 'node_modules'));
  symlinkSync(root, join(dir, 'node_modules/mbox-pop3d'));
  writeFileSync(join(dir, 'example.mjs'), example!);
  const { stdout } = await promisify(execFile)(process.execPath, ['example.mjs'], { cwd: dir });
  expect(stdout).toContain('+OK');
  expect(stdout).toContain('\r\nSubject: hello\r\n\r\nHello, Alice!\r\n.\r\n');
  expect(stdout).toContain('alice deleted 1\n');
});

test('the two commands stand alone, each in a block of one line', () => {
  for (const command of ['npm ci && npm start', 'npm ci && npm test']) {
    expect(blocks('sh').filter(block => block === `${command}\n`)).toHaveLength(1);
  }
});
