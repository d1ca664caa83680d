/** How many connections may be open: in all, and from one address (failure-checks C67). */

export class ConnectionLimits {
  #total = 0;
  readonly #perAddress = new Map<string, number>();

  constructor(
    private readonly most: number,
    private readonly mostPerAddress: number,
  ) {}

  /** Connections open now. */
  get total(): number {
    return this.#total;
  }

  /**
   * Counts a connection in.
   * @returns why it must be refused, or what to call once when it is over
   */
  enter(address: string): { readonly refused: string } | { readonly leave: () => void } {
    const mine = this.#perAddress.get(address) ?? 0;
    if (this.#total >= this.most) return { refused: 'too many connections' };
    if (mine >= this.mostPerAddress) return { refused: 'too many connections from your address' };
    this.#total++;
    this.#perAddress.set(address, mine + 1);
    return { leave: () => this.#leave(address) };
  }

  #leave(address: string): void {
    this.#total--;
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(address, left);
    else this.#perAddress.delete(address);
  }
}
