/**
 * Every way to log in counts alike, in one process and with `--workers`, where the process that checks is not the one
 * that talks: three wrong ones are free, the next waits, a right one is let in after its wait, and is forgiven.
 */
import { createHash, createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { ScramClient } from '../support/scram-client.js';
import { servePlaces, serving } from '../support/serving.js';

const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');
const saidBy = (challenge: string) => Buffer.from(challenge.slice('+ '.length), 'base64').toString('latin1');

/** @param greeting of the connection. @returns the last reply */
type LogIn = (client: Pop3Client, user: string, password: string, greeting: string) => Promise<string>;

const scram =
  (hash: 'sha1' | 'sha256'): LogIn =>
  async (client, user, password) => {
    const end = new ScramClient(hash, user, password);
    const challenge = saidBy(await client.ask(`AUTH ${end.method} ${base64(end.first)}`));
    const reply = await client.ask(base64(end.final(challenge)));
    if (reply !== `+ ${base64(`v=${end.expected}`)}`) return reply;
    return client.ask('');
  };

const METHODS: Readonly<Record<string, LogIn>> = {
  USER: async (client, user, password) => {
    await client.ok(`USER ${user}`);
    return client.ask(`PASS ${password}`);
  },
  PLAIN: (client, user, password) => client.ask(`AUTH PLAIN ${base64(`\0${user}\0${password}`)}`),
  LOGIN: async (client, user, password) => {
    await client.ask('AUTH LOGIN');
    await client.ask(base64(user));
    return client.ask(base64(password));
  },
  APOP: (client, user, password, greeting) => {
    const timestamp = /<.*>/.exec(greeting)?.[0] ?? '';
    return client.ask(`APOP ${user} ${createHash('md5').update(`${timestamp}${password}`).digest('hex')}`);
  },
  'CRAM-MD5': async (client, user, password) => {
    const challenge = saidBy(await client.ask('AUTH CRAM-MD5'));
    const digest = createHmac('md5', password).update(challenge).digest('hex');
    return client.ask(base64(`${user} ${digest}`));
  },
  'SCRAM-SHA-1': scram('sha1'),
  'SCRAM-SHA-256': scram('sha256'),
};
const NAMES = Object.keys(METHODS);

/** Each method has a user and an address of its own, so that none waits for failures of another. */
const userOf = (method: string) => `by-${method.toLowerCase()}`;
const addressOf = (method: string) => `127.0.0.${NAMES.indexOf(method) + 2}`;

test('every method counts alike, whoever checks it', async () => {
  const one = async (workers: string) => {
    const places = servePlaces(Object.fromEntries(NAMES.map(name => [userOf(name), ''])));
    const flags = ['--apop', '--failure-delay', '0', '--max-failure-delay', '1', '--workers', workers];
    const { server, port } = await serving(places, flags);
    const attempt = async (method: string, right: boolean): Promise<string> => {
      const client = await Pop3Client.connect(port, { localAddress: addressOf(method) });
      const user = userOf(method);
      const password = right ? passwordOf(user) : 'wrong';
      const reply = await METHODS[method]!(client, user, password, await client.line());
      await client.ok('QUIT');
      return reply;
    };
    await Promise.all(
      NAMES.map(async method => {
        const replies: string[] = [];
        for (const right of [false, false, false, false, true, false]) {
          replies.push(await attempt(method, right));
        }
        const wrong = '-ERR [AUTH] Authentication failed';
        const letIn = '+OK maildrop has 0 messages (0 octets)';
        expect([method, ...replies]).toEqual([method, wrong, wrong, wrong, wrong, letIn, wrong]);
      }),
    );
    expect(await server.stop()).toBe(0);
    for (const method of NAMES) {
      const line = new RegExp(`login-failed user=${userOf(method)} .* method=${method}(?: .*)?$`, 'gm');
      const waited = Array.from(server.stderr().matchAll(line), ([text]) => /waited=(\d+)/.exec(text)?.[1]);
      expect([method, ...waited]).toEqual([method, undefined, undefined, undefined, '1', undefined]);
    }
  };
  await Promise.all([one('1'), one('2')]);
}, 60_000);
