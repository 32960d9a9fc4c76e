/** What must hold, and the tables. Absolute figures move with the machine, so every bar is a ratio of figures of the same run, or a difference of sizes. */

export type Name = 'chaperone' | 'envoy' | 'haproxy';
export const NAMES: readonly Name[] = ['chaperone', 'envoy', 'haproxy'];

/** Of one program in one round. */
export interface Round {
  /** us a request, at 64 connections and at one. */
  readonly cpu64: number;
  readonly cpu1: number;
  /** ms. */
  readonly p50of1: number;
  readonly p99of1: number;
  readonly p50of64: number;
  readonly p99of64: number;
  /** Requests a second at 64 connections. */
  readonly rate: number;
  /** CPU seconds a GB of downloads. */
  readonly bulk: number;
  /** MB, before the first request and after the load. */
  readonly idle: number;
  readonly loaded: number;
  /** ms from start to the first good answer. */
  readonly ready: number;
}

export interface Results {
  readonly rounds: Readonly<Record<Name, readonly Round[]>>;
  /** ms that an empty Node process takes. */
  readonly emptyNode: number;
  /** us with ten and with ten thousand destinations. */
  readonly decision: readonly [number, number];
  /** MB after bodies of 1 MB, and after 2 GB each way; undefined when it was not measured. */
  readonly streaming: readonly [number, number] | undefined;
}

export interface Bar {
  readonly text: string;
  readonly measured: number;
  readonly most: number;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** The median over the rounds of a program. */
export function middle({ rounds }: Results, name: Name, key: keyof Round): number {
  return median(rounds[name].map((round) => round[key]));
}

/** The median over the rounds of the ratio within each round. */
function ratio({ rounds }: Results, key: keyof Round, to: Name): number {
  return median(rounds.chaperone.map((round, at) => round[key] / (rounds[to][at]?.[key] ?? Number.NaN)));
}

export function bars(results: Results): readonly Bar[] {
  const [few, many] = results.decision;
  const list: Bar[] = [
    { text: "CPU per request, of Envoy's", measured: ratio(results, 'cpu64', 'envoy'), most: 0.6 },
    { text: "CPU per request, of haproxy's", measured: ratio(results, 'cpu64', 'haproxy'), most: 1.7 },
    { text: "p99 at 64 connections, of Envoy's", measured: ratio(results, 'p99of64', 'envoy'), most: 1 },
    { text: "RSS after load, of Envoy's", measured: ratio(results, 'loaded', 'envoy'), most: 1.4 },
    { text: "bulk CPU per GB, of Envoy's", measured: ratio(results, 'bulk', 'envoy'), most: 1.5 },
    {
      text: 'start to ready, of an empty Node process',
      measured: middle(results, 'chaperone', 'ready') / results.emptyNode,
      most: 8,
    },
    { text: 'decision, share of CPU per request', measured: few / middle(results, 'chaperone', 'cpu64'), most: 0.05 },
    { text: 'decision with 10,000 destinations, of one with 10', measured: many / few, most: 1.2 },
  ];
  if (results.streaming !== undefined) {
    const [before, after] = results.streaming;
    list.push({ text: 'RSS added by streaming 2 GB each way, MB', measured: after - before, most: 32 });
  }
  return list;
}

export const holds = ({ measured, most }: Bar): boolean => measured <= most;

const ROWS: readonly (readonly [string, keyof Round, number])[] = [
  ['CPU per request, 64 connections, µs', 'cpu64', 1],
  ['CPU per request, 1 connection, µs', 'cpu1', 1],
  ['p50, 1 connection, ms', 'p50of1', 3],
  ['p99, 1 connection, ms', 'p99of1', 3],
  ['p50, 64 connections, ms', 'p50of64', 2],
  ['p99, 64 connections, ms', 'p99of64', 2],
  ['requests per second, 64 connections', 'rate', 0],
  ['bulk download, CPU seconds per GB', 'bulk', 2],
  ['RSS idle, MB', 'idle', 0],
  ['RSS after load, MB', 'loaded', 0],
  ['start to ready, ms', 'ready', 0],
];

/** Both tables in Markdown. */
export function tables(results: Results): string {
  const rows = ROWS.map(([text, key, digits]) => {
    const cells = NAMES.map((name) => {
      const all = results.rounds[name].map((round) => round[key]);
      const [low, high] = [Math.min(...all), Math.max(...all)].map((value) => value.toFixed(digits));
      return `${median(all).toFixed(digits)} (${low}–${high})`;
    });
    return `| ${text} | ${cells.join(' | ')} |`;
  });
  const judged = bars(results).map(
    (bar) => `| ${bar.text} | ${bar.measured.toFixed(2)} | ${bar.most} | ${holds(bar) ? 'holds' : '**missed**'} |`,
  );
  return [
    `| median (range) of ${results.rounds.chaperone.length} rounds | ${NAMES.join(' | ')} |`,
    '|---|---|---|---|',
    ...rows,
    '',
    '| bar | measured | at most | |',
    '|---|---|---|---|',
    ...judged,
    '',
    `One decision: ${results.decision[0].toFixed(2)} µs with 10 destinations, ${results.decision[1].toFixed(2)} µs with 10,000. An empty Node process: ${results.emptyNode.toFixed(0)} ms.`,
  ].join('\n');
}
