// Several backends as one: who decides, and what is said when one of them cannot tell.
import { describe, expect, test } from 'vitest';
import { Chain } from '../../lib/auth/chain.js';
import { Unavailable } from '../../lib/errors.js';
import type { Authenticator, ProofMethod, Verdict } from '../../lib/pop3/ports.js';

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
    checkProof: proof => {
      if (!('digest' in proof)) throw new Error('no SCRAM here');
      asked.push([String(proof.user), proof.challenge, proof.digest]);
      return say();
    },
    provable: async () => ({ all: new Set(), some: new Set() }),
    scramChallenge: async () => ({ salt: Buffer.of(1), iterations: 1 }),
  };
  return { asked, authenticator };
}

const CALLS = [
  ['checkPassword', ['alice', 'secret']],
  ['checkProof', ['alice', '<1@host>', 'digest']],
] as const;

describe.each(CALLS)('%s', (call, args) => {
  const check = (...answers: (Verdict | Error)[]) => {
    const backends = answers.map(backend);
    const chain = new Chain(backends.map(item => item.authenticator));
    const [user, second, third = ''] = args;
    const verdict =
      call === 'checkPassword'
        ? chain.checkPassword(Buffer.from(user), Buffer.from(second), PEER)
        : chain.checkProof(
            { method: 'APOP', user: Buffer.from(user), challenge: second, digest: third },
            PEER,
          );
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

describe('proofs in a chain', () => {
  const PASSWORDS_ONLY = { checkPassword: async () => no('wrong password') };
  const prover = (all: ProofMethod[], some: ProofMethod[], salt: number): Authenticator => ({
    ...backend(no('wrong proof')).authenticator,
    provable: async () => ({ all: new Set(all), some: new Set(some) }),
    scramChallenge: async () => ({ salt: Buffer.of(salt), iterations: salt }),
  });
  const [sha256, sha1] = ['SCRAM-SHA-256', 'SCRAM-SHA-1'] as const;

  test.each([
    ['the same as one', [prover([sha256], [sha256, sha1], 1)], [sha256], [sha256, sha1]],
    [
      'beside a backend of hashes, nothing is for all',
      [prover([sha256], [sha256], 1), PASSWORDS_ONLY],
      [],
      [sha256],
    ],
    [
      'two that differ',
      [prover([sha256, sha1], [sha256, sha1], 1), prover([sha1], [sha1], 2)],
      [sha1],
      [sha256, sha1],
    ],
    ['without users at hand', [PASSWORDS_ONLY], [], []],
  ])('what is provable: %s', async (_, backends, all, some) => {
    expect(await new Chain(backends).provable()).toEqual({ all: new Set(all), some: new Set(some) });
  });

  test('the first that can makes the challenge', async () => {
    const chain = new Chain([PASSWORDS_ONLY, prover([], [], 7), prover([], [], 8)]);
    expect(await chain.scramChallenge(sha256, Buffer.from('alice'), PEER)).toEqual({
      salt: Buffer.of(7),
      iterations: 7,
    });
  });

  test('backends that cannot check a proof let nobody in by one', async () => {
    const chain = new Chain([PASSWORDS_ONLY]);
    const proof = { method: 'APOP', user: Buffer.from('alice'), challenge: '<1@h>', digest: '' } as const;
    expect(await chain.checkProof(proof, PEER)).toEqual(no('no backend can check it'));
    await expect(chain.scramChallenge(sha256, Buffer.from('alice'), PEER)).rejects.toThrow(Unavailable);
  });
});
