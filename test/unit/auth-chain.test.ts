// Several backends as one: who decides, and what is said when one of them cannot tell.
import { describe, expect, test } from 'vitest';
import { Chain } from '../../lib/auth/chain.js';
import { Unavailable } from '../../lib/errors.js';
import type { Authenticator, Verdict } from '../../lib/pop3/ports.js';

const PEER = { address: '192.0.2.7', port: 40000 };
const down = new Unavailable('SYS/TEMP', 'Cannot check passwords now');
const yes = (user: string): Verdict => ({ account: { user } });
const no = (refused: string): Verdict => ({ refused });

/** A backend that always says the same, and counts how often it is asked. */
function backend(answer: Verdict | Error) {
  const asked: string[][] = [];
  const say = async () => {
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const authenticator: Authenticator = {
    checkPassword: (user, password) => {
      asked.push([String(user), String(password)]);
      return say();
    },
    checkApop: (user, timestamp, digest) => {
      asked.push([String(user), timestamp, digest]);
      return say();
    },
  };
  return { asked, authenticator };
}

const CALLS = [
  ['checkPassword', ['alice', 'secret']],
  ['checkApop', ['alice', '<1@host>', 'digest']],
] as const;

describe.each(CALLS)('%s', (call, args) => {
  const check = (...answers: (Verdict | Error)[]) => {
    const backends = answers.map(backend);
    const chain = new Chain(backends.map(item => item.authenticator));
    const [user, second, third = ''] = args;
    const verdict =
      call === 'checkPassword'
        ? chain.checkPassword(Buffer.from(user), Buffer.from(second), PEER)
        : chain.checkApop(Buffer.from(user), second, third, PEER);
    return { verdict, backends };
  };

  test('the first that lets in decides, and the rest are not asked', async () => {
    const { verdict, backends } = check(no('unknown user'), yes('alice'), yes('mallory'));
    expect(await verdict).toEqual(yes('alice'));
    expect(backends.map(item => item.asked)).toEqual([[args], [args], []]);
  });

  test('refused by all: every reason for the log', async () => {
    expect(await check(no('unknown user'), no('locked')).verdict).toEqual(no('unknown user; locked'));
  });

  test.each([
    [[down, no('wrong password')]],
    [[no('unknown user'), down]],
    [[no('unknown user'), down, no('locked')]],
    [[down, new Unavailable('SYS/PERM', 'another')]],
  ])('one that cannot tell and nobody who lets in: unavailable (%#)', async answers => {
    await expect(check(...answers).verdict).rejects.toBe(down);
  });

  test('one that cannot tell does not stop the next from letting in', async () => {
    expect(await check(down, yes('alice')).verdict).toEqual(yes('alice'));
  });

  test('a bug is no answer', async () => {
    const bug = new TypeError('bug');
    const { verdict, backends } = check(bug, yes('alice'));
    await expect(verdict).rejects.toBe(bug);
    expect(backends[1]?.asked).toEqual([]);
  });
});

test('a chain of nothing is a mistake', () => {
  expect(() => new Chain([])).toThrow(TypeError);
});
