// What every backend outside this process is asked, and who may come in by its yes.
import { describe, expect, test } from 'vitest';
import { type Answer, Outside, type Question } from '../../lib/auth/outside.js';
import { pam } from '../../lib/auth/pam.js';
import { Unavailable } from '../../lib/errors.js';
import type { SystemUser } from '../../lib/host/host.js';
import { decodeQuestion, encodeQuestion, type PamQuestion } from '../../lib/host/pam-frames.js';
import { Turns } from '../../lib/host/turns.js';

const PEER = { address: '192.0.2.7', port: 40_000 };
const PASSWD: SystemUser[] = [
  { name: 'root', uid: 0, gid: 0 },
  { name: 'toor', uid: 0, gid: 100 },
  { name: 'wheel', uid: 1009, gid: 0 },
  { name: 'daemon', uid: 1, gid: 1 },
  { name: 'alice', uid: 1001, gid: 1001 },
  { name: 'bob', uid: 1002, gid: 1002 },
];

function outside(answer: Answer | Error, look = (name: string) => PASSWD.find(user => user.name === name)) {
  const asked: Question[] = [];
  const ask = async (question: Question) => {
    asked.push({ ...question, password: Buffer.from(question.password) });
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const rules = { host: { findUser: look }, minimumUid: 1000, turns: new Turns(4, 60_000) };
  const backend = new Outside(ask, rules);
  const check = (user: string | Uint8Array, password: string | Uint8Array = 'secret') =>
    backend.checkPassword(Buffer.from(user), Buffer.from(password), PEER);
  return { asked, check };
}

const YES: Answer = { ok: true };

test('a user of the system gets the ids of passwd(5), another only a name', async () => {
  const { asked, check } = outside(YES);
  expect(await check('alice')).toEqual({ account: { user: 'alice', uid: 1001, gid: 1001 } });
  expect(await check('carol@example.org')).toEqual({ account: { user: 'carol@example.org' } });
  expect(asked.map(({ user, peer }) => [user, peer])).toEqual([
    ['alice', PEER],
    ['carol@example.org', PEER],
  ]);
});

test('no: refused, with the reason for the log', async () => {
  expect(await outside({ ok: false, reason: 'NO' }).check('alice')).toEqual({ refused: 'NO' });
});

test.each([
  '../alice',
  'a/b',
  '.',
  '..',
  '',
  'alice\0',
  '%d',
  '%{user}',
  "alice'--",
  'x'.repeat(300),
  'alic\u00e9',
  'alice\u0301',
  'alice.lock',
  '+alice',
  '-',
  'alice:x',
  'alice\n',
  'alice\r',
  'al\tice',
  '__proto__/x',
])('C46: %j is no user name, and no backend is asked', async user => {
  const { asked, check } = outside(YES);
  expect(await check(user)).toHaveProperty('refused');
  expect(asked).toEqual([]);
});

test.each([
  ['root', 'uid or gid 0'],
  ['toor', 'uid or gid 0'],
  ['wheel', 'uid or gid 0'],
  ['daemon', 'uid 1 is below 1000'],
])('C46: %s is not even asked about', async (user, refused) => {
  const { asked, check } = outside(YES);
  expect(await check(user)).toEqual({ refused });
  expect(asked).toEqual([]);
});

test('root is refused also where passwd(5) does not know it', async () => {
  expect(await outside(YES, () => undefined).check('root')).toHaveProperty('refused');
});

test('C46: the mailbox is found by the name as passwd(5) has it', async () => {
  // As sssd does for a domain whose names have no case.
  const look = (name: string) => PASSWD.find(user => user.name === name.toLowerCase());
  expect(await outside(YES, look).check('ALICE')).toHaveProperty('account.user', 'alice');
  const odd = () => ({ name: '../alice', uid: 1001, gid: 1001 });
  expect(await outside(YES, odd).check('alice')).toHaveProperty('refused');
});

describe('C44: the password goes through as it is, or not at all', () => {
  test.each([
    'a\tb',
    'a\nb',
    'a\rb',
    'a=b',
    '\x01',
    'skip_password_check=yes\tnopassword',
    ' ',
    '\xff\xfe',
    'x'.repeat(511),
  ])('%j', async text => {
    const { asked, check } = outside(YES);
    const password = Buffer.from(text, 'latin1');
    expect(await check('alice', password)).toHaveProperty('account.user', 'alice');
    expect(asked.map(question => Buffer.from(question.password).equals(password))).toEqual([true]);
  });

  test.each(['', 'a\0b', '\0', 'x'.repeat(512), 'x'.repeat(65_536)])('%j', async text => {
    const { asked, check } = outside(YES);
    expect(await check('alice', text)).toHaveProperty('refused');
    expect(asked).toEqual([]);
  });
});

describe('what the backend says about the user', () => {
  const told = (answer: Partial<Extract<Answer, { ok: true }>>, user = 'carol') =>
    outside({ ok: true, ...answer }).check(user);

  test('another name: its ids, and its rules', async () => {
    expect(await told({ user: 'bob' }, 'alice')).toEqual({ account: { user: 'bob', uid: 1002, gid: 1002 } });
    expect(await told({ user: 'root' })).toEqual({ refused: 'uid or gid 0' });
    expect(await told({ user: 'daemon' })).toHaveProperty('refused');
    expect(await told({ user: '../alice' })).toHaveProperty('refused');
  });

  test('ids, where passwd(5) has none', async () => {
    expect(await told({ uid: 5000, gid: 5001 })).toEqual({
      account: { user: 'carol', uid: 5000, gid: 5001 },
    });
    expect(await told({ uid: 1001, gid: 50 }, 'alice')).toHaveProperty('account.gid', 1001);
  });

  test.each([
    [{ uid: 0, gid: 5000 }, 'carol'],
    [{ uid: 5000, gid: 0 }, 'carol'],
    [{ uid: 1002, gid: 1002 }, 'alice'],
  ])('C45: %j for %s is a mailbox for nobody', async (ids, user) => {
    const failure = await told(ids, user).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Unavailable);
    expect(failure).toMatchObject({ code: 'SYS/PERM' });
  });
});

test('a backend that is down, or passwd(5): unavailable', async () => {
  const down = new Unavailable('SYS/TEMP', 'Cannot check passwords now');
  await expect(outside(down).check('alice')).rejects.toBe(down);
  const broken = () => {
    throw new Error('EIO');
  };
  await expect(outside(YES, broken).check('alice')).rejects.toMatchObject({ code: 'SYS/TEMP' });
});

test('PAM is told a numeric address, whatever the interface is called that an IPv6 client came by', async () => {
  const frames: PamQuestion[] = [];
  const ask = pam(async question => {
    // What is no question would end the process that is asked.
    frames.push(decodeQuestion(encodeQuestion(1, question)));
    return { verdict: 'right', user: question.user, reason: '' };
  });
  const peer = { address: 'fe80::1%br_lan', port: 40_000 };
  const question = { user: 'alice', password: Buffer.from('secret'), peer };
  expect(await ask(question, new AbortController().signal)).toEqual({ ok: true, user: 'alice' });
  expect(frames.map(({ address }) => address)).toEqual(['fe80::1']);
});
