/**
 * Sets of networks, as the settings and the users file write them: `192.0.2.0/24`, `2001:db8::/32`, or one
 * address. An IPv4 client on an IPv6 socket counts as IPv4 (peers are given so).
 */
import { BlockList, isIP } from 'node:net';

/** A network that is none. */
export class BadNetwork extends Error {
  override readonly name = 'BadNetwork';
}

export class Networks {
  /** Apart, because BlockList finds an IPv4 address in `::/0`, as a mapped one. */
  readonly #ipv4 = new BlockList();
  readonly #ipv6 = new BlockList();
  readonly #none: boolean;

  /** @throws BadNetwork naming the one that is none */
  constructor(networks: readonly string[]) {
    this.#none = networks.length === 0;
    for (const network of networks) {
      const [, address = '', bits] = /^([0-9A-Fa-f.:]+)(?:\/([0-9]{1,3}))?$/.exec(network) ?? [];
      const family = isIP(address);
      const most = family === 4 ? 32 : 128;
      const prefix = bits === undefined ? most : Number(bits);
      if (family === 0 || prefix > most) throw new BadNetwork(`${network}: no network such as 192.0.2.0/24`);
      // They would match nobody: peers are given as IPv4.
      if (/^::ffff:/i.test(address)) throw new BadNetwork(`${network}: write it as an IPv4 network`);
      if (family === 4) this.#ipv4.addSubnet(address, prefix, 'ipv4');
      else this.#ipv6.addSubnet(address, prefix, 'ipv6');
    }
  }

  /** Whether an address is in one of them; a word that is no address is in none. */
  has(address: string): boolean {
    // Asked of each connection, and BlockList looks at the address before it looks whether it has any.
    if (this.#none) return false;
    // The zone of a link-local address says by which interface, not which network.
    const [bare = ''] = address.split('%', 1);
    const family = isIP(bare);
    if (family === 4) return this.#ipv4.check(bare, 'ipv4');
    return family === 6 && this.#ipv6.check(bare, 'ipv6');
  }
}

/**
 * What to count a client by: its IPv4 address, or the /64 of an IPv6 one, of which a single host may have
 * as many addresses as it likes.
 */
export function networkOf(address: string): string {
  const [bare = ''] = address.split('%', 1);
  if (isIP(bare) !== 6) return address;
  const groupsOf = (text: string) =>
    text === '' ? [] : text.replace(/[0-9]+(?:\.[0-9]+){3}$/, '0:0').split(':');
  const [head = '', tail] = bare.split('::', 2);
  const [first, last] = [groupsOf(head), groupsOf(tail ?? '')];
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...Array<string>(zeros).fill('0'), ...last].slice(0, 4);
  return `${groups.map(group => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}
