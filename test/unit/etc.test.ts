/** The files for the host in `etc/` name options, paths and each other as they are. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OPTIONS } from '../../lib/config.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const read = (name: string) => readFileSync(join(ROOT, name), 'utf8');
const files = readdirSync(join(ROOT, 'etc'), { recursive: true, encoding: 'utf8' })
  .map(name => join('etc', name))
  .filter(name => statSync(join(ROOT, name)).isFile());
const { bin, files: shipped } = JSON.parse(read('package.json')) as {
  bin: Record<string, string>;
  files: string[];
};
const PROGRAM = `/usr/lib/node_modules/mbox-pop3d/${bin['mbox-pop3d']}`;
const lines = (name: string) => read(name).split('\n');

test('they are part of the package', () => {
  expect(files).toHaveLength(17);
  expect(shipped).toContain('etc');
});

test.each(files)('%s: every option exists', name => {
  const text = read(name);
  const flags = [...text.matchAll(/(?<=\s)--([a-z-]+)/g)].map(match => match[1]!);
  const variables = [...text.matchAll(/MBOX_POP3D_([A-Z_]+)/g)].map(match =>
    match[1]!.toLowerCase().replaceAll('_', '-'),
  );
  expect([...flags, ...variables].filter(option => !(option in OPTIONS))).toEqual([]);
});

test('inetd.conf: each line has seven fields and the absolute path of the program', () => {
  const services = lines('etc/inetd.conf.example').filter(line => /^#?pop3s? /.test(line));
  expect(services).toHaveLength(4);
  expect(services.filter(line => line.startsWith('pop3'))).toHaveLength(1);
  for (const line of services) {
    const [, type, protocol, wait, user, server, argv0, program] = line.split(' ');
    expect([type, protocol, user, server, argv0]).toEqual(['stream', 'tcp', 'root', '/usr/bin/node', 'node']);
    expect(wait).toMatch(/^(nowait\.\d+|wait)$/);
    expect(program).toBe(PROGRAM);
    expect(line.includes(' --tls ')).toBe(line.startsWith('#pop3s '));
  }
});

test.each([
  ['pop3', 'pop3 '],
  ['pop3s', '#pop3s '],
])('xinetd.d/%s: the same program and flags as in inetd.conf', (name, start) => {
  const flags = /mbox-pop3d\.js (--.*)$/;
  const [inetd] = lines('etc/inetd.conf.example').filter(line => line.startsWith(start));
  const args = lines(`etc/xinetd.d/${name}`).find(line => /^\s+server_args /.test(line));
  expect(args).toContain(`= ${PROGRAM} `);
  expect(flags.exec(args!)?.[1]).toBe(flags.exec(inetd!)?.[1]);
});

test('units: one program, one set of restrictions, a directory for each model', () => {
  const services = files.filter(name => name.endsWith('.service'));
  expect(services).toHaveLength(5);
  const restrictions = services.map(name => {
    const text = read(name);
    return text.slice(text.indexOf('# Only the spool'), text.indexOf('SystemCallFilter=~'));
  });
  expect(new Set(restrictions).size).toBe(1);
  for (const name of services) {
    const suffix = name.includes('per-user') ? '-per-user' : '';
    expect(read(name)).toContain(`ExecStart=/usr/bin/node ${PROGRAM}`);
    expect(read(name)).toContain(`\nStateDirectory=mbox-pop3d${suffix}\n`);
    expect(read(name)).toContain(`\nRuntimeDirectory=mbox-pop3d${suffix}\n`);
    expect(read(name)).not.toMatch(/^LimitFSIZE=/m);
  }
});
