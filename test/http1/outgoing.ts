/**
 * Messages as our own client and server connections write them, with what they are meant to say.
 */
import { duplexPair, type Duplex } from 'node:stream';

import { systemClock } from '../../lib/base/clock.ts';
import { ignore } from '../../lib/base/signal.ts';
import { clientConnection } from '../../lib/http1/client.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import type { Body, Fields } from '../../lib/http/message.ts';
import { serveConnection } from '../../lib/http1/server.ts';
import { pick } from './generator.ts';
import type { Random } from './generator.ts';
import type { Meant, Role } from './reading.ts';
import { read } from './wire.ts';

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789-_.';

export function someFields(random: Random): Fields {
  const word = (most: number): string =>
    Array.from(
      { length: 1 + Math.floor(random() * most) },
      () => LETTERS[Math.floor(random() * LETTERS.length)],
    ).join('');
  return Array.from({ length: Math.floor(random() * 8) }, () => [
    `x-${word(8)}`,
    pick(random, [word(30), `${word(5)} \t${word(5)}`, '', '"q", (c)', 'a:b;c=d']),
  ]).flat();
}

/** Bytes in pieces, some of them late, some empty. */
export function someBody(
  random: Random,
  trailers: Fields,
  most = 40_000,
): { readonly body: Body; readonly bytes: Buffer } {
  const pieces = Array.from({ length: Math.floor(random() * 5) }, () =>
    Buffer.alloc(Math.floor(random() * random() * most), pick(random, ['x', '\r\n', '0\r\n\r\n'])),
  );
  const left: (Buffer | 'later')[] = pieces.flatMap((piece) =>
    random() < 0.4 ? (['later', piece] as const) : [piece],
  );
  const body: Body = {
    length: undefined,
    poll: () => left.shift() ?? 'end',
    ready: () => new Promise((resolve) => setImmediate(resolve)),
    trailers: () => trailers,
    cancel() {},
  };
  return { body, bytes: Buffer.concat(pieces) };
}

/** All of one message that comes out of a stream, as latin1. */
async function whole(stream: Duplex, role: Role): Promise<string> {
  let text = '';
  stream.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    if (
      read([Buffer.from(text, 'latin1')], role === 'response' ? { to: 'GET' } : {}) !== 'incomplete'
    )
      return text;
    await new Promise(setImmediate);
  }
  throw new Error(`no whole ${role} came: ${JSON.stringify(text)}`);
}

const MAX_TURNS = 10_000;
const SMALL = 200;
const WRITTEN = { none: () => [], chunked: () => ['transfer-encoding', 'chunked'] } as const;

/** A request by `clientConnection`. */
export async function sentRequest(random: Random): Promise<Meant> {
  const fields = ['host', 'a', ...someFields(random)];
  const trailers = random() < 0.5 ? ['x-sum', '1'] : [];
  const { body, bytes } = someBody(random, trailers, SMALL);
  const kind = pick(random, ['none', 'chunked', 'length', 'buffer'] as const);
  const method =
    kind === 'none'
      ? pick(random, ['GET', 'HEAD', 'POST', 'OPTIONS'])
      : pick(random, ['POST', 'PUT']);
  const target = pick(random, ['/', '/a?b=c', '/%20/%3Ba?..//%25', 'http://a/x']);
  const framing =
    kind === 'buffer' || kind === 'length'
      ? ({ kind: 'length', length: bytes.length } as const)
      : ({ kind } as const);
  const [ours, theirs] = duplexPair();
  const client = clientConnection(ours, httpLimits());
  const given = kind === 'none' ? undefined : kind === 'buffer' ? bytes : body;
  const written = whole(theirs, 'request');
  const answered = client.request({ method, target, fields, framing, trailers: true }, given, {
    signal: new AbortController().signal,
    onInform() {},
  });
  const text = await written;
  // The answer comes only once all was sent: an early one would stop the body.
  theirs.write('HTTP/1.1 204 No Content\r\n\r\n');
  await (
    await answered
  ).sent;
  client.destroy(new Error('read'));
  theirs.destroy();
  const said =
    framing.kind === 'length' ? ['content-length', String(bytes.length)] : WRITTEN[framing.kind]();
  return {
    text,
    method,
    target,
    minor: 1,
    start: `${method} ${target} 1`,
    fields: [...fields, ...said],
    body: kind === 'none' ? '' : bytes.toString('latin1'),
    trailers: kind === 'chunked' ? trailers : [],
  };
}

/** An answer to GET by `serveConnection`. */
export async function sentAnswer(random: Random): Promise<Meant> {
  const status = pick(random, [200, 201, 204, 304, 404, 500, 599]);
  const fields = someFields(random);
  const trailers = random() < 0.5 ? ['x-sum', '1'] : [];
  const { body, bytes } = someBody(random, trailers, SMALL);
  const kind = pick(random, ['chunked', 'length', 'buffer']);
  const length = kind === 'chunked' ? undefined : bytes.length;
  const [ours, theirs] = duplexPair();
  const written = whole(theirs, 'response');
  ignore(
    serveConnection(ours, {
      limits: httpLimits(),
      clock: systemClock,
      draining: new AbortController().signal,
      handle: (x) =>
        x.respond({ status, fields, length, trailers: true }, kind === 'buffer' ? bytes : body),
      refuse: (fault) => ({
        head: { status: fault.http, fields: [], length: 0 },
        body: Buffer.alloc(0),
      }),
    }),
    'it never rejects',
  );
  theirs.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const text = await written;
  for (const end of [ours, theirs]) end.destroy();
  const silent = status === 204 || status === 304;
  const said = silent
    ? []
    : length === undefined
      ? ['transfer-encoding', 'chunked']
      : ['content-length', String(length)];
  return {
    text,
    method: 'GET',
    target: '/',
    minor: 1,
    start: `${/^HTTP\/1\.1 (\d+ [^\r]*)/.exec(text)?.[1] ?? status} 1`,
    fields: [...fields, ...said],
    body: silent ? '' : bytes.toString('latin1'),
    trailers: silent || length !== undefined ? [] : trailers,
  };
}
