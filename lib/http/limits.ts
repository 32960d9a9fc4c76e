/**
 * Every limit of this folder, in one table: name, default, unit and what happens at it. What is
 * over a limit is refused, never cut short in silence.
 */

export interface LimitRow {
  readonly default: number;
  readonly unit: 'bytes' | 'ms' | 'count' | 'share';
  readonly doc: string;
}

const bytes = (size: number, doc: string): LimitRow => ({ default: size, unit: 'bytes', doc });
const ms = (time: number, doc: string): LimitRow => ({ default: time, unit: 'ms', doc });
const count = (most: number, doc: string): LimitRow => ({ default: most, unit: 'count', doc });

const TABLE = {
  methodBytes: bytes(32, 'A longer request method is refused with 400.'),
  targetBytes: bytes(8192, 'A longer request target is refused with 414.'),
  pathBytes: bytes(4096, 'A longer path in a request target is refused with 414.'),
  headBytes: bytes(
    32_768,
    'A longer head, start line and fields together, is refused: 431, or 502 from an upstream.',
  ),
  fieldBytes: bytes(16_384, 'A longer field line is refused: 431, or 502 from an upstream.'),
  fieldCount: count(128, 'More field lines in one head are refused: 431, or 502 from an upstream.'),
  trailerBytes: bytes(8192, 'A longer trailer section is refused: 431, or 502 from an upstream.'),
  trailerCount: count(32, 'More trailer fields are refused: 431, or 502 from an upstream.'),
  chunkExtensionBytes: bytes(1024, 'Longer extensions of one chunk of an answer cut it.'),
  informs: count(5, 'More interim (1xx) answers before one final answer are refused with 502.'),
  headMs: ms(
    10_000,
    'A request head not complete this long after its first byte is refused with 408.',
  ),
  keepAliveMs: ms(75_000, 'A client connection without a request is closed after this long.'),
  bodyIdleMs: ms(
    30_000,
    'A request body of which nothing arrives for this long while it is waited for is ' +
      'refused with 408.',
  ),
  skippedBytes: bytes(
    65_536,
    'Of a body that nobody wants so much is taken off the connection, so that it can be ' +
      'used again; with more to come it is closed.',
  ),
  writeIdleMs: ms(
    60_000,
    'A peer that has not taken what is buffered for it after this long is cut off.',
  ),
  lingerMs: ms(
    2000,
    'How long a connection closed by us still takes and discards bytes, so that the peer ' +
      'can read the answer.',
  ),
  farewellMs: ms(
    250,
    'How long what ends an exchange (a refusal, a gRPC status, a WebSocket Close) may take ' +
      'to leave before its connection is cut.',
  ),
  lingerBytes: bytes(262_144, 'How many bytes a connection closed by us still takes and discards.'),
  poolConnections: count(
    64,
    'Connections open at once for one pool key; further requests wait in order.',
  ),
  poolIdle: count(
    4096,
    'Pooled connections at rest over all keys; of more the one that rests longest is closed.',
  ),
  poolQueue: count(1024, 'Requests that may wait for one pool key; more are refused with 503.'),
  poolQueueMs: ms(5000, 'A request that waits longer for a connection is refused with 503.'),
  poolIdleMs: ms(60_000, 'A pooled connection unused this long is closed.'),
  poolMaxAgeMs: ms(600_000, 'A pooled connection older than this is closed instead of used again.'),
  poolAgeJitter: {
    default: 0.1,
    unit: 'share',
    doc: 'The share of the maximum age taken off at random, so that ages do not end together.',
  },
} as const satisfies Record<string, LimitRow>;

export type HttpLimits = { readonly [Name in keyof typeof TABLE]: number };

/** The rows of the table, for the reference page and the tests. */
export const HTTP_LIMITS: { readonly [Name in keyof HttpLimits]: LimitRow } = TABLE;

/** Which key of the Sidecar sets a limit of times. */
export function timeHint(key: 'headersTimeout' | 'bodyTimeout' | 'writeTimeout'): {
  readonly hint: string;
} {
  return { hint: `the limit is listeners.${key} of the Sidecar` };
}

/** What `listeners` of the Sidecar says of the sizes of heads, in bytes. */
export interface HeadSizes {
  readonly maxHead: number;
  /** Half of the head where it is not said. */
  readonly maxField?: number | undefined;
  /** A quarter of the head where it is not said. */
  readonly maxTarget?: number | undefined;
}

/** Limits of one head that fit one another: what raises the head raises field, target and path. */
export function headLimits(
  sizes: HeadSizes,
): Pick<HttpLimits, 'headBytes' | 'fieldBytes' | 'targetBytes' | 'pathBytes'> {
  const { maxHead, maxField = maxHead / 2, maxTarget = maxHead / 4 } = sizes;
  const targetBytes = Math.min(maxTarget, maxHead);
  return {
    headBytes: maxHead,
    fieldBytes: Math.min(maxField, maxHead),
    targetBytes,
    pathBytes: targetBytes / 2,
  };
}

/** The defaults with some of them changed. */
export function httpLimits(changes: Partial<HttpLimits> = {}): HttpLimits {
  const defaults = Object.entries(TABLE).map(([name, row]) => [name, row.default] as const);
  return Object.freeze({ ...(Object.fromEntries(defaults) as HttpLimits), ...changes });
}
