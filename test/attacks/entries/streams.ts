/**
 * Requests over HTTP/2, frame by frame: by prior knowledge on a local listener, and inside an
 * intercepted tunnel.
 */
import type { Socket } from 'node:net';
import { until } from '../../support/until.ts';
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  rawClient,
  RST_STREAM,
  statusIn,
  type Field,
  type RawClient,
} from '../../http2/raw.ts';
import type { Attempt } from '../case.ts';
import { HOST, type Stage } from '../stage.ts';
import { facets, type Entry, type Manner, type Seen } from './entry.ts';
import { answerOf, CANARY } from './http1.ts';
import { INTERCEPTED, openTunnel, renderInside } from './intercepted.ts';
import { LISTENER } from './requests.ts';

export interface Way {
  readonly scheme: 'http' | 'https';
  /** A connection, or what the agent saw instead of one. */
  readonly open: (stage: Stage) => Promise<RawClient | Seen>;
  /** What is asked for where the attempt says nothing else. */
  readonly authority: (stage: Stage, attempt: Attempt) => string;
}

/**
 * The fields of a request: Host fields as they are said, and none where the attempt takes Host
 * away.
 */
function fieldsOf(stage: Stage, attempt: Attempt, { scheme, authority }: Way): readonly Field[] {
  const { method = 'GET', path = '/', host, fields = [] } = attempt;
  const named: Field[] = host?.length === 0 ? [] : [[':authority', authority(stage, attempt)]];
  const lines = fields.map((line): Field => {
    const colon = line.indexOf(':');
    return [
      line.slice(0, colon).toLowerCase(),
      line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, ''),
    ];
  });
  const hosts = (host ?? []).map((value): Field => ['host', value]);
  return [
    [':method', method],
    [':scheme', scheme],
    [':path', path],
    ...named,
    ...hosts,
    ['x-canary', CANARY],
    ...lines,
  ];
}

function send(client: RawClient, stream: number, fields: readonly Field[], body?: string): void {
  client.send(
    frame(HEADERS, END_HEADERS | (body === undefined ? END_STREAM : 0), stream, block(...fields)),
  );
  if (body === undefined) return;
  const bytes = Buffer.from(body, 'latin1');
  for (let at = 0; at < bytes.length; at += FRAME)
    client.send(frame(DATA, 0, stream, bytes.subarray(at, at + FRAME)));
  client.send(frame(DATA, END_STREAM, stream, Buffer.alloc(0)));
}

/** The most that a DATA frame may hold unasked (RFC 9113 section 6.5.2). */
const FRAME = 16_384;

function finalOf({ frames }: RawClient, stream: number): readonly number[] {
  const heads = frames.filter((one) => one.type === HEADERS && one.stream === stream);
  return heads.map(({ payload }) => statusIn(payload)).filter((status) => status >= 200);
}

function ended({ frames, over }: RawClient, stream: number): boolean {
  const mine = frames.filter((one) => one.stream === stream);
  const last = mine.some(
    (one) => (one.type === HEADERS || one.type === DATA) && (one.flags & END_STREAM) !== 0,
  );
  return over || last || mine.some(({ type }) => type === RST_STREAM);
}

export const strikeBy =
  (way: Way) =>
  async (stage: Stage, attempt: Attempt, { begins }: Manner): Promise<Seen> => {
    const client = await way.open(stage);
    if ('statuses' in client) return client;
    let stream = 1;
    const idle = stage.proxy.server.live();
    if (attempt.after === 'a-good-one') {
      send(client, stream, fieldsOf(stage, {}, way));
      await until('the good request is answered', () => ended(client, 1));
      await until('and is over', () => stage.proxy.server.live() === idle);
      stream = 3;
    }
    begins();
    send(client, stream, fieldsOf(stage, attempt, way), attempt.body);
    await until('the stream ends', () => ended(client, stream), 20_000);
    const statuses = [...finalOf(client, stream)];
    const reset =
      client.over || client.frames.some((one) => one.stream === stream && one.type === RST_STREAM);
    const text =
      statuses.map((status) => `HTTP/1.1 ${status}\r\n\r\n`).join('') + client.content(stream);
    client.socket.destroy();
    return { text, statuses, cut: reset };
  };

export const holdBy =
  (way: Way) =>
  async (stage: Stage): Promise<Socket> => {
    const before = stage.upstream.received();
    const client = await way.open(stage);
    if ('statuses' in client) throw new Error(`an honest connection was refused: ${client.text}`);
    send(client, 1, fieldsOf(stage, {}, way));
    await until('the upstream has the request', () => stage.upstream.received() > before);
    return client.socket;
  };

const CLEAR: Way = {
  scheme: 'http',
  open: (stage) => rawClient(stage.proxy.port(stage.name)),
  authority: (_, { authority = HOST }) => authority,
};

const INSIDE: Way = {
  scheme: 'https',
  async open(stage) {
    const { line, tls } = await openTunnel(stage, 'h2');
    return tls === undefined ? answerOf(line, 0) : rawClient(tls);
  },
  authority: (stage, attempt) => renderInside(stage, attempt).host[0] ?? '',
};

export const OF_STREAMS = facets(
  'authority',
  'method',
  'path',
  'fields',
  'later',
  'address',
  'peer',
  'answer',
  'message',
  'h2',
);

export const LISTENER_STREAMS: Entry = Object.freeze<Entry>({
  ...LISTENER,
  name: 'listener, HTTP/2',
  facets: OF_STREAMS,
  streams: true,
  strike: strikeBy(CLEAR),
  hold: holdBy(CLEAR),
});

export const INTERCEPTED_STREAMS: Entry = Object.freeze<Entry>({
  ...INTERCEPTED,
  name: 'intercepted, HTTP/2',
  facets: new Set([...OF_STREAMS, 'inside']),
  streams: true,
  strike: strikeBy(INSIDE),
  hold: holdBy(INSIDE),
});
