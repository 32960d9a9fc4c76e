/**
 * What must hold. Absolute figures move with the machine, so every bar is a ratio of figures of the
 * same run, or a difference of sizes.
 */

export type Name = 'chaperone' | 'envoy' | 'haproxy' | 'http-proxy';
export const NAMES: readonly Name[] = ['chaperone', 'envoy', 'haproxy', 'http-proxy'];

/** Of one program in one round; a figure that is not there was not measured of that program. */
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
  /** us a request, and requests a second, with a connection of the client's for each. */
  readonly cpuClosing: number;
  readonly rateClosing: number;
  /** us a request through the TCP listener, 64 connections. */
  readonly cpuTcp?: number;
  /** us a call of an MCP tool with 4 KB of arguments; to Envoy it is a POST like any other. */
  readonly cpuTool?: number;
  /** CPU seconds a GB of downloads. */
  readonly bulk: number;
}

/** Of one program, once or a few times. */
export interface Sizes {
  /** ms from start to the first good answer, each beside an empty Node process. */
  readonly ready: readonly number[];
  /** MB, before the first request and right after a load of requests alone; how many those were. */
  readonly idle: number;
  readonly loaded: number;
  readonly requests: number;
}

/** us a decision: with ten destinations, with ten thousand, with one condition in CEL. */
export interface DecisionCosts {
  readonly few: number;
  readonly many: number;
  readonly condition: number;
}

export interface Results {
  readonly rounds: Readonly<Record<Name, readonly Round[]>>;
  readonly sizes: Readonly<Record<Name, Sizes>>;
  /** ms that an empty Node process took, by the start that it stood beside. */
  readonly emptyNode: readonly number[];
  readonly decision: DecisionCosts;
  /** MB after bodies of 1 MB, and after 2 GB each way. */
  readonly streaming: readonly [number, number];
  readonly reload: Stall;
}

/**
 * ms of the main thread's CPU in one turn of the event loop, at most, while a reload runs; and of
 * the clock.
 */
export interface Stall {
  readonly cpu: number;
  readonly wall: number;
  /** ms that the whole reload took. */
  readonly whole: number;
  readonly destinations: number;
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

const figure = (round: Round | undefined, key: keyof Round): number => round?.[key] ?? Number.NaN;

/** The median over the rounds of a program. */
export function middle({ rounds }: Results, name: Name, key: keyof Round): number {
  return median(rounds[name].map((round) => figure(round, key)));
}

/** The median over the rounds of the ratio within each round. */
function ratio({ rounds }: Results, key: keyof Round, to: Name): number {
  return median(
    rounds.chaperone.map((round, at) => figure(round, key) / figure(rounds[to][at], key)),
  );
}

export function bars(results: Results): readonly Bar[] {
  const { decision, sizes, emptyNode, streaming, reload } = results;
  const cpu = middle(results, 'chaperone', 'cpu64');
  const starts = sizes.chaperone.ready.map((ready, at) => ready / (emptyNode[at] ?? Number.NaN));
  return [
    { text: "CPU per request, of Envoy's", measured: ratio(results, 'cpu64', 'envoy'), most: 0.6 },
    {
      text: "CPU per request, of haproxy's",
      measured: ratio(results, 'cpu64', 'haproxy'),
      most: 1.7,
    },
    {
      text: "p99 at 64 connections, of Envoy's",
      measured: ratio(results, 'p99of64', 'envoy'),
      most: 1,
    },
    {
      text: "RSS after load, of Envoy's",
      measured: sizes.chaperone.loaded / sizes.envoy.loaded,
      most: 1.4,
    },
    { text: "bulk CPU per GB, of Envoy's", measured: ratio(results, 'bulk', 'envoy'), most: 1.5 },
    {
      text: 'RSS added by streaming 2 GB each way, MB',
      measured: streaming[1] - streaming[0],
      most: 32,
    },
    { text: 'start to ready, of an empty Node process', measured: median(starts), most: 8 },
    { text: 'decision, share of CPU per request', measured: decision.few / cpu, most: 0.05 },
    {
      text: 'decision with a condition in CEL, share of CPU per request',
      measured: decision.condition / cpu,
      most: 0.1,
    },
    {
      text: 'decision with 10,000 destinations, of one with 10',
      measured: decision.many / decision.few,
      most: 1.2,
    },
    {
      text: 'tools/call of 4 KB, of the same POST through Envoy',
      measured: ratio(results, 'cpuTool', 'envoy'),
      most: 1.5,
    },
    {
      text: 'longest turn of the event loop during a reload, ms of CPU',
      measured: reload.cpu,
      most: 20,
    },
  ];
}

export const holds = ({ measured, most }: Bar): boolean => measured <= most;
