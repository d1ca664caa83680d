// Who does not come in although the password is right, and what the last column of the users file says.
import { describe, expect, test } from 'vitest';
import { Gate, type GateRules } from '../../lib/auth/gate.js';
import { StaticUsers } from '../../lib/auth/static-users.js';
import { parseUsers } from '../../lib/auth/users-lines.js';
import type { Account, Authenticator } from '../../lib/pop3/ports.js';

const PEER = { address: '192.0.2.7', port: 40000 };
const EVERYBODY: GateRules = { allowUsers: [], denyUsers: [] };

function gate(rules: Partial<GateRules>, account: Account = { user: 'alice' }): Gate {
  const users = new StaticUsers({ alice: 'sesame' });
  const backend: Authenticator = {
    checkPassword: async (...args) => {
      const verdict = await users.checkPassword(args[0], args[1]);
      return 'account' in verdict ? { account } : verdict;
    },
    checkProof: async () => ({ account, serverSignature: Buffer.of(1) }),
    provable: () => users.provable(),
    scramChallenge: (...args) => users.scramChallenge(args[0], args[1]),
  };
  return new Gate(backend, { ...EVERYBODY, ...rules });
}

const check = (gate: Gate, password = 'sesame') =>
  gate.checkPassword(Buffer.from('alice'), Buffer.from(password), PEER);
const prove = (gate: Gate) =>
  gate.checkProof({ method: 'CRAM-MD5', user: Buffer.from('alice'), challenge: '<1@h>', digest: '' }, PEER);

const REFUSALS: [Partial<GateRules>, Partial<Account>, string][] = [
  [{ denyUsers: ['alice'] }, {}, 'user is in deny-users'],
  [{ allowUsers: ['bob'] }, {}, 'user is not in allow-users'],
  [{ allowUsers: ['alice'], denyUsers: ['alice'] }, {}, 'user is in deny-users'],
  [{}, { pop3: false }, 'pop3=no'],
  [{}, { allowNets: ['198.51.100.0/24', '::/0'] }, 'address is not in allow_nets'],
];

test.each(REFUSALS)(
  '%j and %j: refused with the right password and the right proof',
  async (rules, account, reason) => {
    const refused = { refused: reason };
    expect(await check(gate(rules, { user: 'alice', ...account }))).toEqual(refused);
    expect(await prove(gate(rules, { user: 'alice', ...account }))).toEqual(refused);
  },
);

test.each<[Partial<GateRules>, Partial<Account>]>([
  [{}, {}],
  [{ allowUsers: ['bob', 'alice'], denyUsers: ['carol'] }, {}],
  [{}, { pop3: true, allowNets: ['192.0.2.0/24'] }],
])('%j and %j: welcome', async (rules, more) => {
  const account = { user: 'alice', ...more };
  expect(await check(gate(rules, account))).toEqual({ account });
  expect(await prove(gate(rules, account))).toEqual({ account, serverSignature: Buffer.of(1) });
});

test('a wrong password is a wrong password, whoever is denied', async () => {
  expect(await check(gate({ denyUsers: ['alice'] }), 'wrong')).toEqual({ refused: 'wrong password' });
});

describe('the last column of the users file', () => {
  const read = (extra: string) => {
    const { users, problems } = parseUsers(Buffer.from(`alice:{PLAIN}x:1000:1000::/home/alice::${extra}\n`));
    return { ...users.get('alice')!, problems };
  };
  test.each<[string, Partial<Account>]>([
    ['', {}],
    ['pop3=no', { pop3: false }],
    ['pop3=yes', { pop3: true }],
    ['nologin', { pop3: false }],
    ['nologin=yes', { pop3: false }],
    ['readonly', { readOnly: true }],
    ['readonly=no', { readOnly: false }],
    ['allow_nets=192.0.2.0/24,2001:db8::/32', { allowNets: ['192.0.2.0/24', '2001:db8::/32'] }],
    ['userdb_mail=mbox:~/mail readonly  proxy=y pop3=no', { readOnly: true, pop3: false }],
  ])('%j', (extra, expected) => {
    const { account, problems } = read(extra);
    expect(account).toEqual({ user: 'alice', uid: 1000, gid: 1000, ...expected });
    expect(problems).toEqual([]);
  });

  test.each([
    ['pop3', 'pop3 is neither yes nor no'],
    ['pop3=maybe', 'pop3 is neither yes nor no'],
    ['readonly=1', 'readonly is neither yes nor no'],
    ['allow_nets=', 'allow_nets names no network'],
    ['allow_nets=example.com', 'example.com: no network such as 192.0.2.0/24'],
  ])('%j keeps the user out, and is told: it may have been meant to', (extra, reason) => {
    const { secret, problems } = read(extra);
    expect(problems).toEqual([{ line: 1, reason }]);
    expect(secret.kind).toBe('unknown');
  });
});
