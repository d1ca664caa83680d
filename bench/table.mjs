/**
 * The table: a row for each measure, the median of its samples or another quantile, ours beside the best peer and beside
 * what the machine can do, and which targets are met. A target that is missed is a finding, not a failure of the benchmark.
 */
import { OURS } from './servers.mjs';

/**
 * @typedef {object} Target
 * @property {'best' | 'limit' | 'value'} against the best peer, the limit, or a figure in the row's unit
 * @property {number} most what ours divided by that may be; for rates, `least` is what it must be
 */

export class Table {
  #rows = [];
  #problems = [];
  #notes = [];

  /** @param {{ withTargets: boolean }} options */
  constructor({ withTargets }) {
    this.withTargets = withTargets;
  }

  /**
   * @param {string} name
   * @param {string} unit
   * @param {{ better?: 'less' | 'more', digits?: number, limit?: string, targets?: Target[], quantile?: number }} [options]
   *   limit: what the machine's limit is, in words; quantile: which of the samples is shown, if not their median
   */
  row(name, unit, options = {}) {
    const row = new Row(name, unit, this.withTargets ? options : { ...options, targets: [] });
    this.#rows.push(row);
    return row;
  }

  /** Runs it; if it fails, the server has no figure in this row, and the report says why. */
  async attempt(row, server, measure) {
    if (row.failed.has(server)) return;
    try {
      await measure();
    } catch (error) {
      row.failed.add(server);
      this.#problems.push(`${row.name}, ${server}: ${error.message}`);
    }
  }

  /** What the reader must know beside a figure. */
  note(text) {
    this.#notes.push(text);
  }

  get problems() {
    return this.#problems;
  }

  /** Markdown. */
  print(peers) {
    const servers = [OURS, ...peers];
    const head = ['measure', '', ...servers, 'ours : best peer', 'limit', 'ours : limit', 'target', ''];
    const lines = [head, head.map((_, n) => (n > 1 && n < 5 + peers.length ? '---:' : '---'))];
    const rows = this.#rows.filter(row => row.samples.size > 0 || row.failed.size > 0);
    for (const row of rows) lines.push(row.cells(servers));
    const verdicts = rows.flatMap(row => row.verdicts().map(({ met }) => met));
    const met = verdicts.filter(Boolean).length;
    return [
      ...lines.map(cells => `| ${cells.join(' | ')} |`),
      '',
      `Targets: ${met} met, ${verdicts.length - met} NOT met.`,
      ...this.#notes,
      ...this.#problems.map(problem => `FAILED: ${problem}`),
    ].join('\n');
  }
}

class Row {
  samples = new Map();
  failed = new Set();
  /** Samples of what the machine can do. */
  limits = [];
  /** Samples of what it can do otherwise, by how. */
  otherLimits = new Map();

  constructor(name, unit, { better = 'less', digits = 1, limit, targets = [], quantile = 0.5 }) {
    Object.assign(this, { name, unit, better, digits, limit, targets, quantile });
  }

  add(server, sample) {
    if (!this.samples.has(server)) this.samples.set(server, []);
    this.samples.get(server).push(sample);
  }

  /** @param limit what did it, in words: that of the row, or another one */
  addLimit(limit, sample) {
    if (limit === this.limit) this.limits.push(sample);
    else if (this.otherLimits.has(limit)) this.otherLimits.get(limit).push(sample);
    else this.otherLimits.set(limit, [sample]);
  }

  /** The peers' figures of another row, for one more way of running this server. */
  peersOf(row) {
    for (const [server, samples] of row.samples) if (server !== OURS) this.samples.set(server, samples);
  }

  median(server) {
    const samples = this.samples.get(server);
    return samples === undefined ? undefined : quantileOf(samples, this.quantile);
  }

  /** The best peer's figure. */
  get best() {
    const peers = [...this.samples.keys()].filter(name => name !== OURS).map(name => this.median(name));
    if (peers.length === 0) return undefined;
    return this.better === 'less' ? Math.min(...peers) : Math.max(...peers);
  }

  get limitMedian() {
    return this.limits.length === 0 ? undefined : quantileOf(this.limits, this.quantile);
  }

  cells(servers) {
    const ours = this.median(OURS);
    const ratio = other => (ours === undefined || other === undefined ? '' : (ours / other).toFixed(2));
    const first = this.limits.length === 0 ? [] : [[this.limit, this.limits]];
    const limits = [...first, ...this.otherLimits].map(([name, samples]) => [
      name,
      quantileOf(samples, this.quantile),
    ]);
    const verdicts = this.verdicts();
    return [
      this.name,
      this.unit,
      ...servers.map(name => (this.failed.has(name) ? 'failed' : this.#figure(this.median(name)))),
      ratio(this.best),
      limits.map(([name, figure]) => `${name} ${this.#figure(figure)}`).join('; '),
      limits.map(([, figure]) => ratio(figure)).join('; '),
      verdicts.map(({ text }) => text).join('; '),
      verdicts.map(({ met }) => (met ? 'met' : '**NOT met**')).join('; '),
    ];
  }

  /** Of those targets for which there are figures. */
  verdicts() {
    const ours = this.median(OURS);
    if (ours === undefined) return [];
    return this.targets.flatMap(({ against, most, least }) => {
      const other = { best: this.best, limit: this.limitMedian, value: 1 }[against];
      if (other === undefined) return [];
      const unit = { best: ' × best peer', limit: ` × ${this.limit}`, value: ` ${this.unit}` }[against];
      const met = most === undefined ? ours / other >= least : ours / other <= most;
      return [{ text: most === undefined ? `≥ ${least}${unit}` : `≤ ${most}${unit}`, met }];
    });
  }

  #figure(value) {
    return value === undefined ? '–' : value.toFixed(value >= 1000 ? 0 : this.digits);
  }
}

export function median(numbers) {
  return quantileOf(numbers, 0.5);
}

/** In between two samples, as much nearer to one of them as the quantile is. */
function quantileOf(numbers, quantile) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = quantile * (sorted.length - 1);
  const [before, after] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return before + (after - before) * (at - Math.floor(at));
}
