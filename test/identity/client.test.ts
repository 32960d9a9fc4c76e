import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import t, { type Test } from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { ignore } from '../../lib/base/signal.ts';
import { parseEndpoint } from '../../lib/identity/address.ts';
import { workloadApi, type WorkloadApi } from '../../lib/identity/client.ts';
import {
  JWTSVIDResponseSchema,
  X509SVIDResponseSchema,
} from '../../lib/identity/gen/workload_pb.ts';
import { LIMITS } from '../../lib/identity/limits.ts';
import { readJwtBundles } from '../../lib/identity/parse.ts';
import { workloadApiDefinition } from '../../lib/identity/service.ts';
import { isFinal, statusOf, withdraws } from '../../lib/identity/status.ts';
import { validateJwtSvid } from '../../lib/spiffe/jwt-svid.ts';
import { until } from '../support/until.ts';
import { folder, trustDomain, workloadApiServer } from './fixture.ts';

const soon = (): AbortSignal => AbortSignal.timeout(5000);
const clientOf = (endpoint: string): WorkloadApi => workloadApi(parseEndpoint(endpoint));

async function first<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw new Error('no message');
}

async function failure(act: Promise<unknown>): Promise<Fault> {
  try {
    await act;
  } catch (fault) {
    if (fault instanceof Fault) return fault;
    throw fault;
  }
  throw new Error('did not fail');
}

t.test(
  'the service has no package, and its methods and fields are the standard’s (C-14, C-51)',
  async (t) => {
    const methods = workloadApiDefinition();
    t.same(
      Object.values(methods).map(({ path }) => path),
      [
        'FetchX509SVID',
        'FetchX509Bundles',
        'FetchJWTSVID',
        'FetchJWTBundles',
        'ValidateJWTSVID',
      ].map((name) => `/SpiffeWorkloadAPI/${name}`),
    );
    const bytes = new Uint8Array([7]);
    const hex = (message: Uint8Array): string => Buffer.from(message).toString('hex');
    const svid = { spiffeId: 'i', x509Svid: bytes, x509SvidKey: bytes, bundle: bytes, hint: 'h' };
    const x509 = create(X509SVIDResponseSchema, {
      svids: [svid],
      crl: [bytes],
      federatedBundles: { t: bytes },
    });
    t.equal(
      hex(toBinary(X509SVIDResponseSchema, x509)),
      ['0a0f0a01691201071a01072201072a0168', '120107', '1a060a0174120107'].join(''),
    );
    const jwt = create(JWTSVIDResponseSchema, { svids: [{ spiffeId: 'i', svid: 's', hint: 'h' }] });
    t.equal(hex(toBinary(JWTSVIDResponseSchema, jwt)), '0a090a01691201731a0168');
  },
);

t.test(
  'every call carries the security header and a plain authority (C-11, C-15, S-03)',
  async (t) => {
    const seen = new Map<string, IncomingHttpHeaders>();
    const socket = join(await folder(t), 'raw.sock');
    const server = createServer();
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      seen.set(String(headers[':path']), headers);
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '7' },
        { endStream: true },
      );
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    t.teardown(() => server.close());
    const api = clientOf(`unix://${socket}`);
    const faults = await Promise.all([
      failure(first(api.x509Svids(soon()))),
      failure(first(api.jwtBundles(soon()))),
      failure(api.fetchJwtSvid({ audience: ['a'] }, soon())),
      failure(api.validateJwtSvid({ audience: 'a', token: 't' }, soon())),
    ]);
    for (const fault of faults) t.equal(fault.code, 'workload-api-denied');
    t.equal(seen.size, 4);
    for (const [path, headers] of seen) {
      t.equal(headers['workload.spiffe.io'], 'true', path);
      t.equal(headers[':authority'], 'localhost', path);
    }
  },
);

t.test(
  'a server that checks the header answers each call of ours (C-10, C-11, C-12)',
  async (t) => {
    const api = await workloadApiServer(t, { federated: [await trustDomain('other.test')] });
    const client = clientOf(api.endpoint);
    t.equal(
      (await first(client.x509Svids(soon()))).svids[0]?.spiffeId,
      'spiffe://example.org/agent',
    );
    const { bundles } = readJwtBundles(await first(client.jwtBundles(soon())));
    const { svids } = await client.fetchJwtSvid({ audience: ['crm', 'erp'] }, soon());
    const token = svids[0]?.svid ?? '';
    t.match(await validateJwtSvid(token, { audience: 'erp', bundles, now: Date.now() }), {
      id: 'spiffe://example.org/agent',
    });
    const answer = await client.validateJwtSvid({ audience: 'crm', token }, soon());
    t.match(answer, {
      spiffeId: 'spiffe://example.org/agent',
      claims: { sub: 'spiffe://example.org/agent' },
    });
  },
);

t.test(
  'without an ID every identity gets its JWT-SVID, with one that one alone (C-60)',
  async (t) => {
    const api = await workloadApiServer(t, { identities: [{ id: '/a' }, { id: '/b' }] });
    const client = clientOf(api.endpoint);
    t.equal((await client.fetchJwtSvid({ audience: ['x'] }, soon())).svids.length, 2);
    const one = await client.fetchJwtSvid(
      { audience: ['x'], spiffeId: 'spiffe://example.org/b' },
      soon(),
    );
    t.same(
      one.svids.map(({ spiffeId }) => spiffeId),
      ['spiffe://example.org/b'],
    );
    const none = await failure(client.fetchJwtSvid({ audience: [] }, soon()));
    t.equal(none.code, 'workload-api-refused');
    t.equal(
      (await failure(client.validateJwtSvid({ audience: 'x', token: 'x' }, soon()))).code,
      'workload-api-refused',
    );
  },
);

const STATUSES = [
  ['PERMISSION_DENIED', 'workload-api-denied', false, true],
  ['INVALID_ARGUMENT', 'workload-api-refused', true, false],
  ['UNIMPLEMENTED', 'workload-api-unavailable', false, false],
  ['UNAVAILABLE', 'workload-api-unavailable', false, false],
  ['CANCELLED', 'workload-api-unavailable', false, false],
  ['INTERNAL', 'workload-api-unavailable', false, false],
  ['RESOURCE_EXHAUSTED', 'workload-api-unavailable', false, false],
] as const;

for (const [code, expected, final, withdrawn] of STATUSES) {
  t.test(
    `status ${code} is a Fault that says what it means (C-40, C-41, C-42, C-43, C-44, C-45)`,
    async (t) => {
      const api = await workloadApiServer(t);
      const client = clientOf(api.endpoint);
      api.failNext({ code, details: 'because', calls: 2 });
      const calls = [
        first(client.x509Svids(soon())),
        client.fetchJwtSvid({ audience: ['x'] }, soon()),
      ];
      for (const fault of await Promise.all(calls.map((call) => failure(call)))) {
        t.match(fault, { code: expected, message: /because/, hint: /\w/ });
        t.equal(statusOf(fault), code);
        t.equal(isFinal(fault), final);
        t.equal(withdraws(fault), withdrawn);
      }
    },
  );
}

t.test('no socket, and a socket that nobody serves, are unavailable (C-41)', async (t) => {
  const client = clientOf(`unix://${await folder(t)}/none.sock`);
  for (const call of [
    first(client.x509Svids(soon())),
    client.fetchJwtSvid({ audience: ['x'] }, soon()),
  ]) {
    const fault = await failure(call);
    t.match(fault, { code: 'workload-api-unavailable', hint: /SPIRE agent/ });
    t.equal(statusOf(fault), 'UNAVAILABLE');
  }
});

t.test(
  'a socket that appears is found by the very next attempt, whatever failed before (C-41)',
  async (t) => {
    const socket = join(await folder(t), 'late.sock');
    const client = clientOf(`unix://${socket}`);
    for (let attempt = 0; attempt < 3; attempt += 1) await failure(first(client.x509Svids(soon())));
    await workloadApiServer(t, { socket });
    t.equal((await first(client.x509Svids(soon()))).svids.length, 1);
  },
);

t.test('our own signal ends a call with its reason, at once, also before it began', async (t) => {
  const api = await workloadApiServer(t);
  const client = clientOf(api.endpoint);
  const stop = new AbortController();
  const messages = client.x509Svids(stop.signal)[Symbol.asyncIterator]();
  await messages.next();
  const rest = failure(messages.next());
  stop.abort(new Fault('shutting-down', 'enough'));
  t.equal((await rest).code, 'shutting-down');
  await until('the server saw it', () => api.open() === 0);
  t.equal((await failure(first(client.x509Svids(stop.signal)))).message, 'enough');
  t.equal((await failure(client.fetchJwtSvid({ audience: ['x'] }, stop.signal))).message, 'enough');
  api.slowFirst(60_000);
  const later = new AbortController();
  const unary = failure(client.fetchJwtSvid({ audience: ['x'] }, later.signal));
  await until('it is under way', () => api.open('FetchJWTSVID') === 1);
  later.abort(new Fault('shutting-down', 'later'));
  t.equal((await unary).message, 'later');
});

t.test('a loop that stops reading cancels its call', async (t) => {
  const api = await workloadApiServer(t);
  await first(clientOf(api.endpoint).x509Svids(soon()));
  await until('the server saw it', () => api.open() === 0);
  t.equal(api.calls('FetchX509SVID'), 1);
});

t.test('takes messages far above what gRPC takes by itself, but not any (C-16)', async (t) => {
  const api = await workloadApiServer(t);
  const client = clientOf(api.endpoint);
  const message = (bytes: number): Uint8Array =>
    toBinary(
      X509SVIDResponseSchema,
      create(X509SVIDResponseSchema, { crl: [new Uint8Array(bytes)] }),
    );
  await api.breakResponses({ raw: { FetchX509SVID: message(8 << 20) } });
  t.equal((await first(client.x509Svids(soon()))).crl[0]?.length, 8 << 20);
  await api.breakResponses({ raw: { FetchX509SVID: message(LIMITS.messageBytes) } });
  t.equal(statusOf(await failure(first(client.x509Svids(soon())))), 'RESOURCE_EXHAUSTED');
});

t.test('a message that is no message is a failure of the call, not of the process', async (t) => {
  const api = await workloadApiServer(t);
  await api.breakResponses({ raw: { FetchX509SVID: Buffer.from('junk') } });
  t.match(await failure(first(clientOf(api.endpoint).x509Svids(soon()))), {
    code: 'workload-api-unavailable',
  });
});

t.test(
  'over tcp the authority is the same, and the proxy variables are not followed (C-04, C-15)',
  async (t: Test) => {
    const before = process.env['http_proxy'];
    t.teardown(() => {
      if (before === undefined) delete process.env['http_proxy'];
      else process.env['http_proxy'] = before;
    });
    process.env['http_proxy'] = 'http://127.0.0.1:1';
    const server = createServer();
    const seen = new Promise<string>((resolve) =>
      server.on('stream', (_, headers) =>
        resolve(`${String(headers[':authority'])}${String(headers[':path'])}`),
      ),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const stop = new AbortController();
    const call = clientOf(`tcp://127.0.0.1:${address.port}`).fetchJwtSvid(
      { audience: ['x'] },
      stop.signal,
    );
    ignore(call, 'only that it arrives matters');
    t.equal(await seen, 'localhost/SpiffeWorkloadAPI/FetchJWTSVID');
    stop.abort(new Fault('aborted', 'done'));
    await failure(call);
    server.close();
  },
);
