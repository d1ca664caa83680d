/** Manual page, README and option table say the same. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { WRITABLE_SCHEMES } from '../../lib/auth/password-field.js';
import { USER_ACTIONS, USER_OPTIONS } from '../../lib/cli/user-options.js';
import { DELIVER_OPTIONS, OPTIONS, type OptionRow } from '../../lib/config.js';

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
const man = read('man/mbox-pop3d.8');
const readme = read('README.md');
const rows: [string, OptionRow][] = Object.entries(OPTIONS);

/** What the manual page says of one option, up to the next. */
function entry(name: string, page = man): string {
  const start = page.search(new RegExp(`^\\.It (?:Fl f Ar sender , )?Fl -${name}( |$)`, 'm'));
  return start < 0 ? '' : page.slice(start).split(/\n\.It |\n\.El/, 1)[0]!;
}

test.each(rows)('--%s is in the manual page, with its default', (name, row) => {
  expect(entry(name)).not.toBe('');
  const value = Array.isArray(row.default) ? row.default.join() : row.default;
  if (typeof value === 'string') expect(entry(name)).toContain(value);
});

test('the manual page describes no option that does not exist', () => {
  const described = [...man.matchAll(/^\.It Fl -([a-z-]+)/gm)].map(match => match[1]!);
  expect(described.filter(name => !(name in OPTIONS) && !['help', 'version'].includes(name))).toEqual([]);
});

test('the README mentions no option that does not exist', () => {
  // Options of other programs in the same text: useradd, systemctl, systemd-tmpfiles; and of the benchmark.
  const others = [...Object.keys(USER_OPTIONS), 'system', 'gid', 'no-create-home', 'shell', 'now', 'create'];
  others.push('only', 'rounds', 'smoke');
  const mentioned = [...readme.matchAll(/(?<=[\s`(])--([a-z][a-z-]*)/g)].map(match => match[1]!);
  expect(mentioned.length).toBeGreaterThan(0);
  expect(mentioned.filter(name => !(name in OPTIONS) && !others.includes(name))).toEqual([]);
});

test('the manual page says what each line of the log means', () => {
  // The event comes after its level, and after whom it is of; what is for debugging only is left out.
  const call =
    /\.(?:write|failure|ofStranger)\((?:(?:'(?:info|warn|error|-)'|[a-z][\w.]*),\s*)*'([a-z-]+)'[,)]/g;
  const lib = new URL('../../lib/', import.meta.url);
  const sources = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter(name =>
    name.endsWith('.ts'),
  );
  const events = new Set(
    sources.flatMap(name =>
      [...readFileSync(new URL(name, lib), 'utf8').matchAll(call)].map(match => match[1]!),
    ),
  );
  events.delete('debug');
  expect(events.size).toBeGreaterThan(50);
  const diagnostics = man.slice(man.indexOf('.Sh DIAGNOSTICS')) + read('man/mbox-pop3d-deliver.8');
  const explained = [...diagnostics.matchAll(/^\.It Li (.*)$/gm)].map(match => match[1]!).join(' ');
  expect([...events].filter(event => !new RegExp(`(?<![\\w-])${event}(?![\\w-])`).test(explained))).toEqual(
    [],
  );
});

const deliverPage = read('man/mbox-pop3d-deliver.8');
const deliverRows: [string, OptionRow][] = Object.entries(DELIVER_OPTIONS);

test.each(deliverRows)('deliver --%s is in its manual page, with its default', (name, row) => {
  expect(entry(name, deliverPage)).not.toBe('');
  if (typeof row.default === 'string') expect(entry(name, deliverPage)).toContain(row.default);
});

test('the manual page of deliver describes no option that does not exist', () => {
  const described = [...deliverPage.matchAll(/^\.It .*Fl -([a-z-]+)/gm)].map(match => match[1]!);
  expect(described.filter(name => !(name in DELIVER_OPTIONS))).toEqual([]);
});

test('the page of the user command has its actions, options, schemes and costs, and no others', () => {
  const page = read('man/mbox-pop3d-user.8');
  const items = (pattern: RegExp) => [...page.matchAll(pattern)].map(match => match[1]!);
  expect(items(/^\.It Cm ([a-z]+)$/gm)).toEqual([...USER_ACTIONS.keys()]);
  expect(items(/^\.It Fl -([a-z-]+)/gm).sort()).toEqual(
    [...Object.keys(USER_OPTIONS), 'spool', 'users'].sort(),
  );
  const table = [...WRITABLE_SCHEMES].map(
    ([scheme, { cost }]) => `${scheme} Ta ${cost.counts} Ta ${cost.usual} Ta ${cost.min}, ${cost.max}`,
  );
  expect(items(/^\.It ([A-Z][A-Z0-9-]+.*)$/gm)).toEqual(table);
  expect(page).toContain(`Default:\n.Li ${USER_OPTIONS.scheme.default} .`);
});
