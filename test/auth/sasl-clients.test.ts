/**
 * Clients that others have written, by each mechanism they know; the log says by which they came in. Two
 * users files: plain passwords, and keys that Dovecot has made of them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect } from 'vitest';
import { mustRun, run, testWith } from '../clients/programs.js';
import { message } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import type { Running } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { runPython } from '../support/run-python.js';
import { SERVED_BY, type ServePlaces, servePlaces, serving } from '../support/serving.js';

const USER = 'alice';
const PASSWORD = passwordOf(USER);

interface Door {
  readonly places: ServePlaces;
  readonly server: Running;
  readonly port: number;
  /** Waits until somebody has come in so. */
  enteredBy(method: string): Promise<void>;
}

/** @param stored what the users file has instead of the plain password */
async function open(stored?: string, flags: string[] = []): Promise<Door> {
  const places = servePlaces({ [USER]: message('hello') });
  const { uid, gid } = SERVED_BY;
  if (stored !== undefined) writeFileSync(places.users, `${USER}:${stored}:${uid}:${gid}\n`);
  const { server, port } = await serving(places, flags);
  const enteredBy = (method: string) => server.logged(new RegExp(` login user=${USER} method=${method} `));
  return { places, server, port, enteredBy };
}

const keys = async (scheme: string) =>
  (await mustRun('doveadm', ['pw', '-s', scheme, '-p', PASSWORD])).replace(/\n$/, '');

const curl = (port: number, password: string, ...args: string[]) =>
  run('curl', ['-sS', '-m', '60', '-u', `${USER}:${password}`, ...args, `pop3://127.0.0.1:${port}/1`]);

describe('curl', () => {
  for (const [option, method] of [
    ['AUTH=PLAIN', 'PLAIN'],
    ['AUTH=LOGIN', 'LOGIN'],
    ['AUTH=CRAM-MD5', 'CRAM-MD5'],
    ['AUTH=+APOP', 'APOP'],
  ] as const) {
    for (const initial of [[], ['--sasl-ir']]) {
      testWith(['curl'], `${method} ${initial.join()}`, async () => {
        const { port, enteredBy } = await open(undefined, ['--apop']);
        const { code, stdout } = await curl(port, PASSWORD, '--login-options', option, ...initial);
        expect([code, stdout]).toEqual([0, expect.stringContaining('hello')]);
        await enteredBy(method);
        // CURLE_LOGIN_DENIED
        expect((await curl(port, 'wrong', '--login-options', option, ...initial)).code).toBe(67);
      });
    }
  }

  testWith(['curl'], 'by its own choice: the strongest it knows of what is offered', async () => {
    const { port, enteredBy } = await open();
    expect((await curl(port, PASSWORD)).stdout).toContain('hello');
    await enteredBy('(CRAM-MD5|SCRAM-SHA-256)');
  });

  testWith(
    ['curl', 'mkpasswd'],
    'by its own choice, where one user has a hash: it gets in all the same',
    async () => {
      const { port, enteredBy } = await open(
        (await mustRun('mkpasswd', ['-m', 'sha512crypt', PASSWORD])).trim(),
      );
      expect((await curl(port, PASSWORD)).stdout).toContain('hello');
      await enteredBy('PLAIN');
    },
  );

  testWith(['curl'], '--plaintext tls: it proves the password, and never sends it', async () => {
    const { port, server, enteredBy } = await open(undefined, ['--plaintext', 'tls']);
    expect((await curl(port, PASSWORD)).stdout).toContain('hello');
    await enteredBy('(CRAM-MD5|SCRAM-SHA-256)');
    expect((await curl(port, PASSWORD, '--login-options', 'AUTH=PLAIN')).code).not.toBe(0);
    expect(server.stderr()).not.toContain('method=PLAIN');
  });
});

describe('mpop', () => {
  const mpop = ({ places, port }: Door, method: string, password: string) =>
    run('mpop', [
      ...['--host=127.0.0.1', `--port=${port}`, `--user=${USER}`, `--passwordeval=echo ${password}`],
      ...[`--auth=${method}`, '--tls=off', '--keep=on', '--timeout=20'],
      ...[`--uidls-file=${join(places.root, 'uidls')}`, `--delivery=mbox,${join(places.root, 'fetched')}`],
    ]);

  for (const method of ['user', 'apop', 'plain', 'login', 'cram-md5', 'scram-sha-1', 'scram-sha-256']) {
    testWith(['mpop'], method, async () => {
      const door = await open(undefined, ['--apop']);
      const { code, stderr } = await mpop(door, method, PASSWORD);
      expect([code, stderr]).toEqual([0, '']);
      await door.enteredBy(method.toUpperCase());
      // EX_NOPERM
      expect((await mpop(door, method, 'wrong')).code).toBe(77);
    });
  }

  for (const scheme of ['SCRAM-SHA-1', 'SCRAM-SHA-256']) {
    testWith(['mpop', 'doveadm'], `${scheme}, with keys that Dovecot made`, async () => {
      const door = await open(await keys(scheme));
      expect((await mpop(door, scheme.toLowerCase(), PASSWORD)).code).toBe(0);
      await door.enteredBy(scheme);
      expect((await mpop(door, 'plain', PASSWORD)).code).toBe(0);
      expect((await mpop(door, scheme.toLowerCase(), 'wrong')).code).toBe(77);
      // Not offered, so it does not try.
      expect((await mpop(door, 'cram-md5', PASSWORD)).code).not.toBe(0);
    });
  }
});

describe('fetchmail', () => {
  const fetchmail = ({ places, port }: Door, protocol: string, how: string) => {
    const rc = join(places.root, 'rc');
    writeFileSync(
      rc,
      `poll 127.0.0.1 service ${port} protocol ${protocol} ${how} timeout 20
         user "${USER}" password "${PASSWORD}" sslproto '' mda "cat >> ${join(places.root, 'fetched')}" keep\n`,
      { mode: 0o600 },
    );
    const args = ['-f', rc, '--nosyslog', '--pidfile', join(places.root, 'pid')];
    return run('fetchmail', args, { env: { HOME: places.root, FETCHMAILHOME: places.root } });
  };

  for (const [protocol, how, method] of [
    ['POP3', '', '(CRAM-MD5|APOP|USER)'],
    ['POP3', 'auth cram-md5', 'CRAM-MD5'],
    ['POP3', 'auth password', '(USER|APOP|CRAM-MD5)'],
    ['APOP', '', 'APOP'],
  ] as const) {
    testWith(['fetchmail'], `${protocol} ${how}`, async () => {
      const door = await open(undefined, protocol === 'APOP' ? ['--apop'] : []);
      const { code, stderr, stdout } = await fetchmail(door, protocol, how);
      expect([code, stderr], stdout).toEqual([0, expect.any(String)]);
      await door.enteredBy(method);
    });
  }
});

/**
 * GNU SASL knows no POP3, but all mechanisms: the lines between it and the server are carried by hand.
 * @returns the reply to AUTH
 */
async function gsasl(port: number, mechanism: string, password: string): Promise<string> {
  const client = await Pop3Client.greeted(port);
  const args = ['--client', '--quiet', '-m', mechanism, '-a', USER, '-p', password, '--no-cb'];
  const program = spawn('gsasl', [...args, '--service=pop', '--hostname=localhost'], { stdio: 'pipe' });
  try {
    const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
    const says = async () => String((await lines.next()).value ?? '');
    expect(await says()).toBe(mechanism);
    // Its first word, empty where the server begins.
    const initial = await says();
    let reply = await client.ask(`AUTH ${mechanism}`);
    if (reply === '+ ') reply = await client.ask(initial);
    while (reply.startsWith('+ ')) {
      program.stdin.write(`${reply.slice(2)}\n`);
      // After the server's last word it has none of its own.
      reply = await client.ask(reply.startsWith('+ dj0') ? '' : await says());
    }
    await client.ok('QUIT');
    return reply;
  } finally {
    if (program.exitCode === null) {
      program.kill();
      await once(program, 'close');
    }
  }
}

describe('gsasl', () => {
  for (const mechanism of ['PLAIN', 'CRAM-MD5', 'SCRAM-SHA-1', 'SCRAM-SHA-256']) {
    testWith(['gsasl'], mechanism, async () => {
      const { port, enteredBy } = await open();
      expect(await gsasl(port, mechanism, PASSWORD)).toMatch(/^\+OK maildrop has 1 message /);
      await enteredBy(mechanism);
      expect(await gsasl(port, mechanism, 'wrong')).toBe('-ERR [AUTH] Authentication failed');
    });
  }
});

testWith(['gsasl'], 'keys that gsasl made: by its own proof, and as a password', async () => {
  for (const scheme of ['SCRAM-SHA-1', 'SCRAM-SHA-256']) {
    const stored = (await mustRun('gsasl', ['-k', '-m', scheme, '-p', PASSWORD])).trim();
    const { port } = await open(stored);
    expect(await gsasl(port, scheme, PASSWORD)).toMatch(/^\+OK /);
    expect((await curl(port, PASSWORD, '--login-options', 'AUTH=PLAIN')).code).toBe(0);
  }
});

describe('Python', () => {
  testWith(['python3'], 'poplib: APOP, and SASL by hand with its hmac and base64', async () => {
    const { port, enteredBy, server } = await open(undefined, ['--apop']);
    const { stdout } = await runPython(PYTHON, String(port), USER, PASSWORD);
    expect(stdout).toBe('APOP 1\nPLAIN 1\nCRAM-MD5 1\nwrong -ERR [AUTH] Authentication failed\n');
    for (const method of ['APOP', 'PLAIN', 'CRAM-MD5']) await enteredBy(method);
    expect(await server.stop()).toBe(0);
  });
});

const PYTHON = `
import base64, hmac, poplib, sys
port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]

def by_apop(pop):
    pop.apop(user, password)

def by_plain(pop, password=password):
    assert 'PLAIN' in pop.capa()['SASL']
    pop._shortcmd('AUTH PLAIN ' + base64.b64encode(f'\\0{user}\\0{password}'.encode()).decode())

def by_cram(pop):
    pop._putcmd('AUTH CRAM-MD5')
    line, _ = pop._getline()
    digest = hmac.new(password.encode(), base64.b64decode(line[2:]), 'md5').hexdigest()
    pop._shortcmd(base64.b64encode(f'{user} {digest}'.encode()).decode())

for name, log_in in ('APOP', by_apop), ('PLAIN', by_plain), ('CRAM-MD5', by_cram):
    pop = poplib.POP3('127.0.0.1', port, timeout=20)
    log_in(pop)
    print(name, pop.stat()[0])
    pop.quit()

pop = poplib.POP3('127.0.0.1', port, timeout=20)
try:
    by_plain(pop, 'wrong')
except poplib.error_proto as error:
    print('wrong', error.args[0].decode())
`;
