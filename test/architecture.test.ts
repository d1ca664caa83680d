/**
 * Holds the imports of lib against the rooms of the README's Architecture section: which room may know
 * which, and the two rules that keep the dangerous things in one place each.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');
const LIB = join(ROOT, 'lib');

/** Room → rooms it may import. `types` of pop3 means pop3/ports.ts, and types only. */
const ARROWS: Record<string, readonly string[]> = {
  pop3: [],
  mbox: [],
  host: [],
  tls: [],
  maildrop: ['mbox', 'host', 'pop3 types'],
  auth: ['host', 'pop3 types'],
  server: ['pop3', 'host'],
  cli: ['auth', 'host', 'server', 'maildrop', 'tls', 'pop3 types', 'config', 'services'],
  config: ['auth', 'maildrop', 'pop3', 'tls'],
  services: ['pop3 types', 'mbox', 'host', 'maildrop', 'auth', 'server', 'config'],
  index: ['auth', 'host', 'server', 'tls', 'config', 'services'],
};
/** Everybody may import these. */
const COMMON = ['errors', 'log', 'networks'];

interface Import {
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly typesOnly: boolean;
  readonly target: string;
}

function sources(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(dir, name));
}

/** `lib/pop3/reply.ts` is in the room `pop3`, `lib/config.ts` in the room `config` with the files of `lib/config/`. */
function roomOf(path: string): string {
  return relative(LIB, path)
    .split('/')[0]!
    .replace(/\.[jt]s$/, '');
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const statements = [
    ...text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm),
    ...text.matchAll(/()import\('([^']+)'\)/g),
  ];
  return statements.map(match => {
    const target = match[2]!;
    const to = target.startsWith('.') ? roomOf(resolve(dirname(file), target)) : target;
    return {
      file: relative(ROOT, file),
      from: roomOf(file),
      to,
      typesOnly: match[1] !== undefined && match[1] !== '',
      target,
    };
  });
}

const IMPORTS = sources(LIB).flatMap(importsOf);

function allowed({ from, to, typesOnly, target }: Import): boolean {
  if (!target.startsWith('.') || from === to || COMMON.includes(to)) return true;
  if (ARROWS[from]?.includes(to)) return true;
  return (
    to === 'pop3' &&
    typesOnly &&
    target.endsWith('/ports.js') &&
    (ARROWS[from]?.includes('pop3 types') ?? false)
  );
}

test('every room is known, and imports were found', () => {
  const rooms = new Set(sources(LIB).map(roomOf));
  expect([...rooms].filter(room => !(room in ARROWS) && !COMMON.includes(room))).toEqual([]);
  expect(IMPORTS.length).toBeGreaterThan(100);
});

test('imports follow the arrows between the rooms', () => {
  const wrong = IMPORTS.filter(item => !allowed(item)).map(({ file, target }) => `${file} imports ${target}`);
  expect(wrong).toEqual([]);
});

test('what everybody may import imports no room', () => {
  const wrong = IMPORTS.filter(({ from, target }) => COMMON.includes(from) && target.startsWith('.'));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test('the protocol and the format are pure: no network, files, clock or child processes', () => {
  const impure = /^(node:)?(fs|net|tls|http|child_process|timers|os|worker_threads|cluster)(\/|$)/;
  const wrong = IMPORTS.filter(({ from, to }) => (from === 'pop3' || from === 'mbox') && impure.test(to));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
  for (const file of sources(LIB).filter(path => ['pop3', 'mbox'].includes(roomOf(path)))) {
    expect(readFileSync(file, 'utf8'), file).not.toMatch(
      /Date\.now|new Date|performance\.|setTimeout|process\./,
    );
  }
});

test('only the native room changes identity, spawns programs or loads the FFI', () => {
  const wrong = IMPORTS.filter(({ from, to }) => from !== 'host' && /^(koffi|node:child_process)$/.test(to));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
  for (const file of sources(LIB).filter(path => roomOf(path) !== 'host')) {
    expect(readFileSync(file, 'utf8'), file).not.toMatch(/\b(set(e)?[ug]id|initgroups|setgroups)\s*\(/);
  }
});

test('nothing is there for tests alone: what is exported is used', () => {
  const files = [...sources(LIB), ...sources(join(ROOT, 'bin'))];
  const code = files
    .map(path => readFileSync(path, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''))
    .join('\n');
  const names = [
    ...code.matchAll(/^export (?:async )?(?:abstract )?(?:function\*?|class|const|let|enum) (\w+)/gm),
  ].map(match => match[1]!);
  expect(names.length).toBeGreaterThan(300);
  const words = new Map<string, number>();
  for (const [word] of code.matchAll(/\w+/g)) words.set(word, (words.get(word) ?? 0) + 1);
  expect(names.filter(name => words.get(name) === 1)).toEqual([]);
});

test('C21: offsets are never cut to 32 bits, and no mailbox is read whole', () => {
  for (const file of sources(LIB).filter(path => ['mbox', 'maildrop'].includes(roomOf(path)))) {
    const code = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(code, file).not.toMatch(/readFile\b|readFileSync|\|\s*0\b/);
  }
});

test('C53: nothing secret is compared by a way whose time tells where the difference is', () => {
  const secret = '(?:password|digest|proof|clientProof|storedKey|serverKey|clientKey|signature|octets)';
  const early = new RegExp(
    `\\b${secret}\\)?\\s*[!=]==?(?!=|\\s*undefined)|[!=]==?\\s*[\\w.]*\\b${secret}\\b(?!\\.(?:length|kind))|(?<!content)\\.equals\\(`,
  );
  const files = sources(LIB)
    .filter(path => roomOf(path) === 'auth' || /pop3\/sasl/.test(path))
    // Two forms of what one client has sent.
    .filter(path => !path.endsWith('/prepare-password.ts'));
  expect(files.length).toBeGreaterThan(15);
  for (const file of files) {
    const code = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(early.exec(code)?.[0], file).toBeUndefined();
  }
  for (const bad of [
    'digest === expected',
    'if (entry.password != x)',
    'x === stored.octets',
    'a.equals(b)',
  ]) {
    expect(early.test(bad), bad).toBe(true);
  }
});
