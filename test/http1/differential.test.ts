/**
 * node:http is the oracle: what we accept it must accept and read the same; what we send it must
 * read as we meant. Our being stricter is right, and counted.
 */
import http from 'node:http';
import net from 'node:net';
import t from 'tap';

import { clientConnection } from '../../lib/http1/client.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import type { Body, Fields } from '../../lib/http/message.ts';
import { pick, seeded } from './generator.ts';
import { fuzzed } from './mutate.ts';
import { nodeJudgesElsewhere, nodeReads, nodeShows, seenIn } from './node-reader.ts';
import { someBody, someFields } from './outgoing.ts';
import { codecProblem } from './resend.ts';
import { weMean, type Seen } from './reading.ts';
import { collect, serve } from './wire.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const CASES = Number(process.env['FUZZ_CASES'] ?? 3000);

/** Found by fuzzing. */
const REGRESSIONS = [
  ['response', 'HTTP/1.1 206 \r\nTransfer-Encoding:chunked\r\n\r\n7\r\nx\r\n0;aB\r\n0\r\n-,'],
  ['response', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Two:\r,'],
  ['request', 'DELETE /a;bH\x94'],
  ['request', 'DELETE / HTTP/1.0\r\n\r\n'],
] as const;

t.test(
  'the codec says the same however bytes arrive, and reads what it wrote again as the same (F4, F10)',
  async (t) => {
    for (const [role, text] of REGRESSIONS)
      t.equal(codecProblem(role, text, seeded(0), true), undefined);
    for (const role of ['request', 'response'] as const) {
      const random = seeded(SEED);
      for (let round = 0; round < CASES; round++) {
        const text = fuzzed(random, role);
        const problem = codecProblem(role, text, random, round % 100 === 0);
        if (problem !== undefined)
          t.fail(`seed ${SEED}, case ${round}: ${JSON.stringify(text)}: ${problem}`);
      }
    }
  },
);

const ROLES = [
  { role: 'request', rows: 'F1, F2, F4' },
  { role: 'response', rows: 'F9' },
] as const;

for (const { role, rows } of ROLES) {
  t.test(
    `every ${role} that we accept, node:http accepts and reads the same (${rows})`,
    async (t) => {
      const random = seeded(SEED + (role === 'request' ? 0 : 1));
      const counts = { both: 0, stricter: 0, neither: 0 };
      for (let round = 0; round < CASES; round++) {
        const text = fuzzed(random, role);
        const meant = weMean(role, text);
        if (meant === undefined) {
          const { seen, refused } = await nodeReads(role, text);
          counts[seen.length > 0 && !refused ? 'stricter' : 'neither']++;
          continue;
        }
        counts.both++;
        if (role === 'request' && nodeJudgesElsewhere(meant)) continue;
        // Without what comes after the message: that node reads it whole shows that both end it at
        // the same byte.
        const { seen } = await nodeReads(role, meant.text);
        const [wanted] = nodeShows(meant).seen;
        if (JSON.stringify(seen[0]) !== JSON.stringify(wanted))
          t.strictSame(seen[0], wanted, `seed ${SEED}, case ${round}: ${JSON.stringify(text)}`);
      }
      t.comment(`${role}s: ${JSON.stringify(counts)}`);
      t.ok(
        counts.both > CASES / 5 && counts.neither > CASES / 10 && counts.stricter > 0,
        'the generator makes good and bad ones',
      );
    },
  );
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
  const client = clientConnection(socket, httpLimits());
  for (let round = 0; round < CASES / 10; round++) {
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
    | {
        status: number;
        fields: Fields;
        length: number | undefined;
        trailers: Fields;
        body: Body | Buffer;
      }
    | undefined;
  await using server = await serve(async (x) => {
    if (next === undefined) throw new Error('nothing to answer');
    const { status, fields, length, body } = next;
    await x.respond({ status, fields, length, trailers: true }, body);
  });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let round = 0; round < CASES / 10; round++) {
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
      const request = http.request(
        { port: server.port, host: '127.0.0.1', agent, method, path: '/' },
        (message) => {
          seenIn(`${message.statusCode} ${message.httpVersionMinor}`, message).then(
            resolve,
            reject,
          );
        },
      );
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
