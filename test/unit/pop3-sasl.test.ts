/** SASL exchanges as pure functions: the examples of the RFCs, and everything that is not quite one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BadRequest } from '../../lib/errors.js';
import type { Credentials } from '../../lib/pop3/authorization.js';
import { decode, Exchange } from '../../lib/pop3/sasl.js';
import { cramMd5 } from '../../lib/pop3/sasl-cram-md5.js';
import { login, plain } from '../../lib/pop3/sasl-password.js';
import { scram } from '../../lib/pop3/sasl-scram.js';
import { runs } from '../support/runs.js';

const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');
const text = (octets: Uint8Array) => Buffer.from(octets).toString('latin1');

/** An exchange with a client that says these lines; `challenges` is what it was asked, decoded. */
function scripted(initial: string | undefined, ...lines: string[]) {
  const challenges: string[] = [];
  const ask = async (challenge: string) => {
    challenges.push(Buffer.from(challenge, 'base64').toString('latin1'));
    const line = lines.shift();
    if (line === undefined) throw new Error(`asked once too often: ${challenge}`);
    return Buffer.from(line, 'latin1');
  };
  return { exchange: new Exchange(ask, initial), challenges, lines };
}

/** Credentials with texts for octets. */
function readable(credentials: Credentials): Record<string, unknown> {
  const shown = Object.entries(credentials).map(([key, value]) => [
    key,
    value instanceof Uint8Array ? text(value) : value,
  ]);
  return Object.fromEntries(shown.filter(([, value]) => typeof value !== 'function'));
}

describe('base64, RFC 4648 and RFC 5034 §4', () => {
  test.each(['', 'dGVzdAB0ZXN0AHRlc3Q=', 'AA==', 'AAA=', 'AAAA', '+/+/'])('%j is octets', line => {
    expect(decode(line).toString('base64')).toBe(line);
  });
  test.each([
    ...['=', '====', '=AAA', 'AAA=BBB', 'AA', 'A', 'AAA', 'A===', 'AA=', 'AAAA=', 'AAAA===='],
    ...['AAB=', 'AB==', 'AA==AAAA', ' AAAA', 'AAAA ', 'AA AA', 'AA\tAA', 'AAAA\0', '\0', 'AA\0A', '*', '**'],
    ...['-_-_', 'AAA\xff', 'AAAA\r', 'ＡＡＡＡ'],
  ])('C52: %j is none', line => {
    expect(() => decode(line)).toThrow(BadRequest);
  });
});

describe('PLAIN', () => {
  test('RFC 5034 §6: with an initial response, and without', async () => {
    const expected = { method: 'PLAIN', user: 'test', password: 'test' };
    expect(readable(await plain(scripted('dGVzdAB0ZXN0AHRlc3Q=').exchange))).toEqual(expected);
    const { exchange, challenges } = scripted(undefined, 'dGVzdAB0ZXN0AHRlc3Q=');
    expect(readable(await plain(exchange))).toEqual(expected);
    expect(challenges).toEqual(['']);
  });

  test.each([
    // RFC 4616 §4
    ['\0tim\0tanstaaftanstaaf', 'tim', 'tanstaaftanstaaf'],
    ['tim\0tim\0tanstaaftanstaaf', 'tim', 'tanstaaftanstaaf'],
    ['\0a b\0 two  spaces ', 'a b', ' two  spaces '],
    ['\0bob\0\x01\t\r\n=', 'bob', '\x01\t\r\n='],
    ['\0j\xf6rg\0p\xe4ss', 'j\xf6rg', 'p\xe4ss'],
  ])('C44: %j is a name and a password, to the octet', async (message, user, password) => {
    expect(readable(await plain(scripted(base64(message)).exchange))).toEqual({
      method: 'PLAIN',
      user,
      password,
    });
  });

  test.each(['Ursel\0Kurt\0xipj3plmq', 'root\0tim\0x', 'Tim\0tim\0x', 'tim \0tim\0x', 'ti\0tim\0x'])(
    'an authorization identity of another is refused, whatever the password: %j',
    async message => {
      expect(await plain(scripted(base64(message)).exchange)).toMatchObject({
        refused: 'another authorization identity',
      });
    },
  );

  test.each([
    '',
    'tim',
    '\0',
    '\0tim',
    '\0tim\0',
    '\0\0secret',
    'tim\0\0secret',
    '\0\0',
    '\0tim\0a\0',
    '\0tim\0a\0b',
  ])('%j is no message', async message => {
    await expect(plain(scripted(undefined, base64(message)).exchange)).rejects.toThrow(BadRequest);
  });

  test('an initial response that is there and empty is not asked for again', async () => {
    const { exchange, challenges } = scripted('=', base64('\0tim\0x'));
    await expect(plain(exchange)).rejects.toThrow(BadRequest);
    expect(challenges).toEqual([]);
  });
});

describe('LOGIN', () => {
  const expected = { method: 'LOGIN', user: 'tim', password: 'tan staaf' };

  test('two questions', async () => {
    const { exchange, challenges } = scripted(undefined, base64('tim'), base64('tan staaf'));
    expect(readable(await login(exchange, false))).toEqual(expected);
    expect(challenges).toEqual(['Username:', 'Password:']);
  });

  test('the name may come with the command', async () => {
    const { exchange, challenges } = scripted(base64('tim'), base64('tan staaf'));
    expect(readable(await login(exchange, true))).toEqual(expected);
    expect(challenges).toEqual(['Password:']);
  });

  test.each([
    ['', base64('x')],
    [base64('tim'), ''],
    [base64('tim'), '*'],
    ['*', base64('x')],
    ['tim', base64('x')],
  ])('%j and %j: no attempt', async (...lines) => {
    await expect(login(scripted(undefined, ...lines).exchange, false)).rejects.toThrow(BadRequest);
  });
});

describe('CRAM-MD5', () => {
  const challenge = '<1896.697170952@postoffice.reston.mci.net>';

  test('RFC 2195 §2', async () => {
    const { exchange, challenges } = scripted(undefined, 'dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw');
    expect(readable(await cramMd5(exchange, challenge))).toEqual({
      method: 'CRAM-MD5',
      user: 'tim',
      challenge,
      digest: 'b913a602c7eda7a495b4e6e7334d3890',
    });
    expect(challenges).toEqual([challenge]);
  });

  test('a name may have spaces', async () => {
    const { exchange } = scripted(undefined, base64(`a b ${'0'.repeat(32)}`));
    expect(readable(await cramMd5(exchange, challenge))).toMatchObject({ user: 'a b' });
  });

  test.each(['', ' ', 'tim', `tim${'0'.repeat(32)}`, ` ${'0'.repeat(32)}`, `tim ${'0'.repeat(31)}`])(
    '%j is no response',
    async response => {
      await expect(cramMd5(scripted(undefined, base64(response)).exchange, challenge)).rejects.toThrow(
        BadRequest,
      );
    },
  );
  test.each([`tim ${'A'.repeat(32)}`, `tim ${'0'.repeat(33)}`, `tim ${'0'.repeat(32)} `])(
    '%j is no response',
    async response => {
      await expect(cramMd5(scripted(undefined, base64(response)).exchange, challenge)).rejects.toThrow(
        BadRequest,
      );
    },
  );

  test.each(['=', base64('tim x')])('RFC 5034 §4: the initial response %j is refused', async initial => {
    const { exchange, challenges } = scripted(initial);
    await expect(cramMd5(exchange, challenge)).rejects.toThrow('no initial response');
    expect(challenges).toEqual([]);
  });
});

describe('SCRAM', () => {
  // RFC 7677 §3
  const SALT = 'W22ZaJ0SNY7soEsUEjb6gQ==';
  const NONCE = 'rOprNGfwEbeRWgbNEkqO';
  const SERVER_NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
  const PROOF = 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';
  const FINAL = `c=biws,r=${NONCE}${SERVER_NONCE}`;
  const ports = {
    nonce: () => SERVER_NONCE,
    scramChallenge: async () => ({ salt: Buffer.from(SALT, 'base64'), iterations: 4096 }),
  };
  const run = (first: string, ...rest: string[]) => {
    const { exchange, challenges } = scripted(undefined, ...[first, ...rest].map(base64));
    return { challenges, result: scram(exchange, 'SCRAM-SHA-256', ports) };
  };

  test('RFC 7677 §3: both messages of each side', async () => {
    const { challenges, result } = run(`n,,n=user,r=${NONCE}`, `${FINAL},p=${PROOF}`, '');
    const credentials = await result;
    expect(readable(credentials)).toMatchObject({
      user: 'user',
      authMessage: `n=user,r=${NONCE},r=${NONCE}${SERVER_NONCE},s=${SALT},i=4096,${FINAL}`,
      clientProof: text(Buffer.from(PROOF, 'base64')),
    });
    expect(challenges).toEqual(['', `r=${NONCE}${SERVER_NONCE},s=${SALT},i=4096`]);
    if (!('confirm' in credentials)) throw new Error('nothing to confirm');
    await credentials.confirm?.(Buffer.from('6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=', 'base64'));
    expect(challenges.at(-1)).toBe('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
  });

  test('C52: a client that says more than nothing to the signature is not logged in', async () => {
    const credentials = await run(`n,,n=user,r=${NONCE}`, `${FINAL},p=${PROOF}`, 'x').result;
    if (!('confirm' in credentials)) throw new Error('nothing to confirm');
    await expect(credentials.confirm?.(Buffer.of(1))).rejects.toThrow(BadRequest);
  });

  test.each([
    ['a client that could bind the channel', 'y,,', 'eSws'],
    ['its own name as authorization identity', 'n,a=user,', base64('n,a=user,')],
  ])('%s', async (_, header, binding) => {
    const final = `c=${binding},r=${NONCE}${SERVER_NONCE},p=${PROOF}`;
    expect(await run(`${header}n=user,r=${NONCE}`, final).result).toHaveProperty('clientProof');
  });

  test('another authorization identity is refused, at the end', async () => {
    const final = `c=${base64('n,a=root,')},r=${NONCE}${SERVER_NONCE},p=${PROOF}`;
    expect(await run(`n,a=root,n=user,r=${NONCE}`, final).result).toMatchObject({
      user: Buffer.from('user'),
      refused: 'another authorization identity',
    });
  });

  test('=2C and =3D in a name; extensions are passed over, and proved', async () => {
    const final = `${FINAL},z=1,p=${PROOF}`;
    const credentials = await run(`n,,n=a=2Cb=3D2C,r=${NONCE},x=y=z`, final).result;
    expect(readable(credentials)).toMatchObject({
      user: 'a,b=2C',
      authMessage: expect.stringMatching(/^n=a=2Cb=3D2C,r=[^,]*,x=y=z,r=.*,z=1$/),
    });
  });

  test.each([
    ...[
      '',
      'n',
      'n,',
      'n,,',
      'n,,n=user',
      'n,,n=,r=abc',
      'n,,n=user,r=',
      'n,,r=abc,n=user',
      ',,n=user,r=abc',
    ],
    ...['x,,n=user,r=abc', 'N,,n=user,r=abc', 'n,,n=user,r=a b', 'n,,n=user,r=abc,', 'n,,n=user,r=abc,r=def'],
    ...['n,,n=user,r=abc,n=root', 'n,,n=user,n=root,r=abc', 'n,,m=x,n=user,r=abc', 'n,,n=user,r=abc,m=x'],
    ...['n,,n=user,r=abc,x=1,x=2', 'n,,n=user,r=abc,xy=1', 'n,,n=user,r=abc,x=', 'n,,n=us=er,r=abc'],
    ...[
      'n,,n=us=2cer,r=abc',
      'n,,n=us\0er,r=abc',
      'n,root,n=user,r=abc',
      'n,a=,n=user,r=abc',
      'nn,,n=user,r=abc',
    ],
    ...['p=tls-unique,,n=user,r=abc', 'p=tls-exporter,,n=user,r=abc', 'p,,n=user,r=abc', 'n,,,n=user,r=abc'],
  ])('C52: %j begins nothing', async first => {
    const { challenges, result } = run(first);
    await expect(result).rejects.toThrow(BadRequest);
    expect(challenges).toEqual(['']);
  });

  test.each([
    ['no proof', FINAL],
    ['an empty proof', `${FINAL},p=`],
    ['a proof that is no base64', `${FINAL},p=====`],
    ['a proof that is not canonical', `${FINAL},p=AB==`],
    ['something after the proof', `${FINAL},p=${PROOF},x=y`],
    ['the nonce of the client alone', `c=biws,r=${NONCE},p=${PROOF}`],
    ['another nonce', `c=biws,r=${NONCE}${SERVER_NONCE}x,p=${PROOF}`],
    ['the nonce twice', `${FINAL},r=${NONCE},p=${PROOF}`],
    ['the binding twice', `c=biws,${FINAL},p=${PROOF}`],
    ['another order', `r=${NONCE}${SERVER_NONCE},c=biws,p=${PROOF}`],
    ['another header than was sent', `c=eSws,r=${NONCE}${SERVER_NONCE},p=${PROOF}`],
    ['a header with an identity', `c=${base64('n,a=user,')},r=${NONCE}${SERVER_NONCE},p=${PROOF}`],
    ['a header with channel data', `c=${base64('n,,\0\0')},r=${NONCE}${SERVER_NONCE},p=${PROOF}`],
    ['an empty header', `c=,r=${NONCE}${SERVER_NONCE},p=${PROOF}`],
    ['a header that is not canonical', `c=biwt====,r=${NONCE}${SERVER_NONCE},p=${PROOF}`],
    ['nothing', ''],
  ])('C52: %s ends nothing', async (_, final) => {
    await expect(run(`n,,n=user,r=${NONCE}`, final).result).rejects.toThrow(BadRequest);
  });

  test('cancelled at the last step', async () => {
    await expect(run(`n,,n=nobody,r=${NONCE}`, '*').result).rejects.toThrow(BadRequest);
  });
});

describe('octets at random, in every step of every mechanism', () => {
  const ports = { nonce: () => 'n', scramChallenge: async () => ({ salt: Buffer.of(1), iterations: 1 }) };
  const line = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map(octets => Buffer.from(octets).toString('latin1')),
    fc.uint8Array({ maxLength: 40 }).map(octets => Buffer.from(octets).toString('base64')),
    fc.constantFrom('n,,n=u,r=x', 'c=biws,r=xn,p=AAAA', '\0u\0p', 'u 0', '').map(base64),
    fc.constantFrom('', '*', '=', '===='),
  );

  test('C49: they end in credentials or in BadRequest', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.option(line, { nil: undefined }),
        fc.array(line, { minLength: 3, maxLength: 3 }),
        async (initial, lines) => {
          for (const mechanism of [
            plain,
            (e: Exchange) => login(e, initial !== undefined),
            (e: Exchange) => cramMd5(e, '<1@h>'),
            (e: Exchange) => scram(e, 'SCRAM-SHA-1', ports),
          ]) {
            const outcome = await mechanism(scripted(initial, ...lines).exchange).catch(
              (error: unknown) => error,
            );
            if (!(outcome instanceof BadRequest)) expect(outcome).toHaveProperty('user');
          }
        },
      ),
      runs(2222, 500),
    );
  });
});
