/**
 * Every limit that HTTP/2 adds to those of lib/http/limits.ts, which hold here too: heads,
 * trailers, interim answers, times.
 */
import type { LimitRow } from '../http/limits.ts';

const row = (unit: LimitRow['unit']) => (most: number, doc: string) => ({
  default: most,
  unit,
  doc,
});
const count = row('count');
const bytes = row('bytes');

const TABLE = {
  streams: count(
    128,
    'Streams open at once on one connection, as its SETTINGS say; more end the connection ' +
      'with PROTOCOL_ERROR.',
  ),
  windowBytes: bytes(262_144, 'What a peer may send ahead on one stream before it is read.'),
  connectionWindowBytes: bytes(
    1_048_576,
    'What a peer may send ahead on all streams of a connection together.',
  ),
  sessionBytes: bytes(
    67_108_864,
    'What the engine may hold for one connection; beyond it new streams are refused with ' +
      'ENHANCE_YOUR_CALM.',
  ),
  blockBytes: bytes(
    131_072,
    'A longer header block as sent, CONTINUATION frames included, ends the connection with ' +
      'ENHANCE_YOUR_CALM.',
  ),
  blockFrames: count(
    16,
    'A header block in more frames ends the connection with ENHANCE_YOUR_CALM.',
  ),
  resets: count(
    200,
    'Streams that a client may reset in a burst, and a tenth of it a second after that; ' +
      'more ends the connection with ENHANCE_YOUR_CALM (rapid reset).',
  ),
  idleFrames: count(
    500,
    'PING, SETTINGS, PRIORITY, empty DATA and unknown frames in a burst, and a tenth of it ' +
      'a second after that; more ends the connection with ENHANCE_YOUR_CALM.',
  ),
  refusedStreams: count(
    100,
    'Streams beyond the allowed number that a client may try before its connection is ended.',
  ),
  sessionStreams: count(
    100,
    'Requests at once on one connection to an upstream, where its SETTINGS allow more.',
  ),
  replayBytes: bytes(
    65_536,
    'The begin of a request body that is kept until the answer comes, to send it again ' +
      'where the upstream did not process it.',
  ),
} as const satisfies Record<string, LimitRow>;

export type Http2Limits = { readonly [Name in keyof typeof TABLE]: number };

/** The defaults with some of them changed. */
export function http2Limits(changes: Partial<Http2Limits> = {}): Http2Limits {
  const defaults = Object.entries(TABLE).map(
    ([name, { default: value }]) => [name, value] as const,
  );
  return Object.freeze({ ...(Object.fromEntries(defaults) as Http2Limits), ...changes });
}
