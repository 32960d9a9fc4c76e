/**
 * node:http is the oracle: what we accept it must accept and read the same; what we send it must read as we meant. Our being stricter is right, and counted.
 */
import http from 'node:http';
import net from 'node:net';
import { duplexPair } from 'node:stream';
import t from 'tap';

import { clientConnection } from '../../lib/http1/client.ts';
import { http1Limits } from '../../lib/http1/limits.ts';
import type { Body, Fields } from '../../lib/http1/message.ts';
import { pick, seeded, someRequest, someResponse } from './generator.ts';
import type { Random } from './generator.ts';
import { collect, read, serve } from './wire.ts';

const SEED = Number(process.env['CHAPERONE_TEST_SEED'] ?? 20_260_101);
const ROUNDS = Number(process.env['CHAPERONE_TEST_ROUNDS'] ?? 3000);

interface Seen {
  readonly start: string;
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

const flat = (raw: readonly string[]): string[] => raw.map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text));

async function seenIn(start: string, message: http.IncomingMessage): Promise<Seen> {
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  return {
    start,
    fields: flat(message.rawHeaders),
    body: Buffer.concat(pieces).toString('latin1'),
    trailers: flat(message.rawTrailers),
  };
}

interface Reading {
  readonly seen: readonly Seen[];
  readonly refused: boolean;
}

/** What node's server makes of these bytes: the requests it read whole, and whether it found fault. */
async function nodeReadsRequests(text: string): Promise<Reading> {
  const seen: Seen[] = [];
  let refused = false;
  const use = (message: http.IncomingMessage, response: http.ServerResponse): void => {
    const start = `${message.method} ${message.url} ${message.httpVersionMinor}`;
    seenIn(start, message).then(
      (whole) => {
        seen.push(whole);
        response.end();
      },
      () => (refused = true),
    );
  };
  const server = http.createServer({ keepAliveTimeout: 0 }, use);
  server.on('checkContinue', use).on('checkExpectation', use);
  const [ours, theirs] = duplexPair();
  server.on('clientError', (_failure, socket) => {
    refused = true;
    socket.destroy();
  });
  for (const end of [ours, theirs]) end.on('error', () => {});
  server.emit('connection', theirs);
  ours.resume();
  ours.write(text, 'latin1');
  // All of it happens in this process, within a few turns.
  for (let turn = 0; turn < 20 && seen.length === 0 && !refused; turn++) await new Promise(setImmediate);
  for (const end of [ours, theirs]) end.destroy();
  server.close();
  return { seen, refused };
}

/** What only the proxy judges, and node's parser in its own way: methods it does not know, targets of no known form. */
function judgedElsewhere(method: string, target: string): boolean {
  return !http.METHODS.includes(method) || !/^(\/|\*|https?:\/\/[a-z.]+\/)/.test(target);
}

/** What node's client makes of these bytes as the answer to GET. */
async function nodeReadsResponse(text: string): Promise<Seen | undefined> {
  const [ours, theirs] = duplexPair();
  ours.on('error', () => {});
  theirs.on('error', () => {});
  ours.resume();
  const agent = new http.Agent();
  agent.createConnection = () => theirs;
  try {
    return await new Promise<Seen>((resolve, reject) => {
      const request = http.request({ path: '/', host: 'a', agent });
      request.on('error', reject);
      request.on('response', (message) => {
        seenIn(`${message.statusCode} ${message.statusMessage} ${message.httpVersionMinor}`, message).then(
          resolve,
          reject,
        );
      });
      ours.once('data', () => ours.end(text, 'latin1'));
      request.end();
    });
  } catch {
    return undefined;
  } finally {
    theirs.destroy();
    ours.destroy();
  }
}

t.test('every request that we accept, node:http accepts and reads the same (F1, F2, F4)', async (t) => {
  const random = seeded(SEED);
  const counts = { both: 0, stricter: 0, neither: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const text = someRequest(random);
    const ours = read([Buffer.from(text, 'latin1')]);
    const accepted = typeof ours === 'object' && 'head' in ours;
    // Without what comes after the message, which node may refuse before it tells of the message: that it is whole shows that both end it at the same byte.
    const theirs = await nodeReadsRequests(accepted ? text.slice(0, text.length - ours.rest.length) : text);
    if (!accepted) {
      counts[theirs.seen.length > 0 && !theirs.refused ? 'stricter' : 'neither']++;
      continue;
    }
    counts.both++;
    if (!('method' in ours.head)) throw new Error('not a request');
    const { method, target, minor, fields } = ours.head;
    if (judgedElsewhere(method, target)) continue;
    const meant: Seen = { start: `${method} ${target} ${minor}`, fields, body: ours.body, trailers: ours.trailers };
    const [first] = theirs.seen;
    if (JSON.stringify(first) !== JSON.stringify(meant))
      t.strictSame(first, meant, `round ${round}: ${JSON.stringify(text)}`);
  }
  t.comment(`requests: ${JSON.stringify(counts)}`);
  t.ok(
    counts.both > ROUNDS / 5 && counts.neither > ROUNDS / 10 && counts.stricter > 0,
    'the generator makes good and bad ones',
  );
});

t.test('every response that we accept, node:http accepts and reads the same (F9)', async (t) => {
  const random = seeded(SEED + 1);
  const counts = { both: 0, stricter: 0, neither: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const text = someResponse(random);
    const interim = /^HTTP\/1\.1 100 Continue\r\n\r\n/.exec(text)?.[0] ?? '';
    const ours = read([Buffer.from(text.slice(interim.length), 'latin1')], { to: 'GET', end: true });
    const rest = typeof ours === 'object' && 'rest' in ours ? ours.rest.length : 0;
    const theirs = await nodeReadsResponse(text.slice(0, text.length - rest));
    if (typeof ours !== 'object' || !('head' in ours)) {
      counts[theirs === undefined ? 'neither' : 'stricter']++;
      continue;
    }
    counts.both++;
    if (!('status' in ours.head)) throw new Error('not a response');
    const { status, reason, minor, fields } = ours.head;
    // A further interim answer is for the loop, which reads the next head; bytes after the end are refused by it, and ignored by node.
    if (status < 200) continue;
    const meant: Seen = { start: `${status} ${reason} ${minor}`, fields, body: ours.body, trailers: ours.trailers };
    if (JSON.stringify(theirs) !== JSON.stringify(meant))
      t.strictSame(theirs, meant, `round ${round}: ${JSON.stringify(text)}`);
  }
  t.comment(`responses: ${JSON.stringify(counts)}`);
  t.ok(
    counts.both > ROUNDS / 5 && counts.neither > ROUNDS / 10 && counts.stricter > 0,
    'the generator makes good and bad ones',
  );
});

const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789-_.';

function someFields(random: Random): Fields {
  const word = (most: number): string =>
    Array.from({ length: 1 + Math.floor(random() * most) }, () => LETTERS[Math.floor(random() * LETTERS.length)]).join(
      '',
    );
  return Array.from({ length: Math.floor(random() * 8) }, () => [
    `x-${word(8)}`,
    pick(random, [word(30), `${word(5)} \t${word(5)}`, '', '"q", (c)', 'a:b;c=d']),
  ]).flat();
}

/** Bytes in pieces, some of them late, some empty. */
function someBody(random: Random, trailers: Fields): { readonly body: Body; readonly bytes: Buffer } {
  const pieces = Array.from({ length: Math.floor(random() * 5) }, () =>
    Buffer.alloc(Math.floor(random() * random() * 40_000), pick(random, ['x', '\r\n', '0\r\n\r\n'])),
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

t.test('every request that we send, node:http reads as we meant it (F10)', async (t) => {
  const random = seeded(SEED + 2);
  const seen: Promise<Seen>[] = [];
  const server = http.createServer((message, response) => {
    const reading = seenIn(`${message.method} ${message.url} ${message.httpVersionMinor}`, message);
    seen.push(reading);
    reading.then(
      () => response.end('ok'),
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  const client = clientConnection(socket, http1Limits());
  for (let round = 0; round < ROUNDS / 10; round++) {
    const fields = ['host', 'a', ...someFields(random)];
    const trailers = random() < 0.5 ? ['x-sum', '1'] : [];
    const { body, bytes } = someBody(random, trailers);
    const kind = pick(random, ['none', 'chunked', 'length', 'buffer'] as const);
    const method = kind === 'none' ? 'GET' : 'POST';
    const target = pick(random, ['/', '/a?b=c', '*', 'http://a/x']);
    const framing =
      kind === 'buffer' || kind === 'length'
        ? ({ kind: 'length', length: bytes.length } as const)
        : ({ kind } as const);
    const given = kind === 'none' ? undefined : kind === 'buffer' ? bytes : body;
    const options = { signal: new AbortController().signal, onInform() {} };
    const { body: answer, sent } = await client.request(
      { method, target, fields, framing, trailers: true },
      given,
      options,
    );
    t.equal((await collect(answer)).toString(), 'ok');
    await sent;
    const written = {
      none: [],
      chunked: ['transfer-encoding', 'chunked'],
      length: ['content-length', String(bytes.length)],
    };
    t.strictSame(await seen[round], {
      start: `${method} ${target} 1`,
      fields: [...fields, ...written[framing.kind]],
      body: kind === 'none' ? '' : bytes.toString('latin1'),
      trailers: kind === 'chunked' ? trailers : [],
    });
    t.ok(client.reusable);
  }
  client.destroy(new Error('done'));
  await new Promise((resolve) => server.close(resolve));
});

t.test('every answer that we send, node:http reads as we meant it (F10)', async (t) => {
  const random = seeded(SEED + 3);
  let next:
    { status: number; fields: Fields; length: number | undefined; trailers: Fields; body: Body | Buffer } | undefined;
  await using server = await serve(async (x) => {
    if (next === undefined) throw new Error('nothing to answer');
    const { status, fields, length, body } = next;
    await x.respond({ status, fields, length, trailers: true }, body);
  });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let round = 0; round < ROUNDS / 10; round++) {
    const status = pick(random, [200, 201, 204, 304, 404, 500, 599]);
    const method = pick(random, ['GET', 'GET', 'HEAD']);
    const fields = someFields(random);
    const trailers = random() < 0.5 ? ['x-sum', '1'] : [];
    const { body, bytes } = someBody(random, trailers);
    const kind = pick(random, ['chunked', 'length', 'buffer']);
    next = {
      status,
      fields,
      length: kind === 'chunked' ? undefined : bytes.length,
      trailers,
      body: kind === 'buffer' ? bytes : body,
    };
    const seen = await new Promise<Seen>((resolve, reject) => {
      const request = http.request({ port: server.port, host: '127.0.0.1', agent, method, path: '/' }, (message) => {
        seenIn(`${message.statusCode} ${message.httpVersionMinor}`, message).then(resolve, reject);
      });
      request.on('error', reject);
      request.end();
    });
    const bodiless = status === 204 || status === 304;
    const silent = bodiless || method === 'HEAD';
    const framing =
      bodiless || (method === 'HEAD' && kind === 'chunked')
        ? []
        : kind === 'chunked'
          ? ['transfer-encoding', 'chunked']
          : ['content-length', String(bytes.length)];
    t.strictSame(seen, {
      start: `${status} 1`,
      fields: [...fields, ...framing],
      body: silent ? '' : bytes.toString('latin1'),
      trailers: !silent && kind === 'chunked' ? trailers : [],
    });
    t.equal(server.connections.size, 1, 'one connection for all');
  }
  agent.destroy();
});
