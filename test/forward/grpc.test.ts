/**
 * gRPC calls through the local listener of a gRPC destination: grpc-js on both sides, and requests
 * by hand where it would not send them.
 */
import { status } from '@grpc/grpc-js';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { type DestinationOptions, policyOf, testDestination } from '../support/destination.ts';
import { SERVICE, grpcClient, grpcServer } from '../support/grpc.ts';
import { http2Client } from '../support/http2-client.ts';
import {
  type Http2Seen,
  h2cUpstream,
  http2Server,
  http2Upstream,
} from '../support/http2-upstream.ts';
import { tlsInTunnel } from '../support/tunnel.ts';
import { testInterception } from '../support/interception.ts';
import { testProxy } from '../support/proxy.ts';
import type { Rule } from '../support/service.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';
import t from 'tap';

function grpcRule(
  name: string,
  effect: Rule['effect'],
  methods: readonly string[],
  service = SERVICE,
): Rule {
  const grpc = { services: new Set([service]), methods: new Set(methods) };
  return {
    name,
    effect,
    action: effect === 'allow' ? 'read' : undefined,
    http: undefined,
    grpc,
    when: undefined,
  };
}

function grpcSite(upstream: { readonly port: number }, more: DestinationOptions = {}): Destination {
  const rules = [grpcRule('all', 'allow', ['*'])];
  const at = { host: '127.0.0.1', port: upstream.port };
  return {
    ...testDestination({
      name: 'billing',
      hosts: ['billing.internal'],
      listen: true,
      protocol: 'grpc',
      upstream: at,
      rules,
      ...more,
    }),
    http2: true,
  };
}

const CALL = {
  ':method': 'POST',
  ':authority': 'billing.internal',
  'content-type': 'application/grpc',
  te: 'trailers',
};
const path = (name: string) => ({ ':path': `/${SERVICE}/${name}` });
/** An empty message. */
const MESSAGE = Buffer.from([0, 0, 0, 0, 0]);

t.test(
  'all four kinds of calls, with metadata and trailers, over one verified connection',
  async (t) => {
    const authority = await testAuthority();
    await using server = await grpcServer(authority);
    await using proxy = await testProxy({ authority, destinations: [grpcSite(server)] });
    await using client = grpcClient(proxy.port('billing'));
    const got = await client.unary('Get', 'invoice 7', { 'x-asked': 'yes' });
    t.match(got, { value: 'invoice 7', code: status.OK });
    t.strictSame(got.trailers.get('x-trailer'), ['kept']);
    t.strictSame(got.trailers.get('x-seen'), ['yes']);
    t.strictSame(got.trailers.get('x-data-bin'), [Buffer.from([0, 255])]);
    const list = client.stream('List', 'all');
    t.equal((await list.status()).code, status.OK);
    t.strictSame(list.messages, ['item 0', 'item 1', 'item 2', 'item 3', 'item 4']);
    t.match(await client.upload('Sum', [Buffer.alloc(1_000_000), Buffer.alloc(2_000_000)]), {
      value: '3000000',
      code: 0,
    });
    const chat = client.stream('Chat');
    chat.write('one');
    await chat.sees('one');
    chat.write('two');
    await chat.sees('two');
    chat.close();
    t.equal((await chat.status()).code, status.OK);
    t.match(await client.unary('Fail', 'x'), { code: status.NOT_FOUND, details: 'no invoice “7”' });
    const large = 'y'.repeat(4_000_000);
    t.equal((await client.unary('Get', large)).value?.length, large.length);
    await proxy.quiet();
    t.match(proxy.audit.of('decided')[0], {
      method: `${SERVICE}/Get`,
      path: `/${SERVICE}/Get`,
      rule: 'all',
      destination: 'billing',
    });
    t.match(proxy.audit.of('ended')[0], {
      outcome: 'completed',
      status: 200,
      grpcStatus: 0,
      peer: 'spiffe://example.org/upstream',
      sent: 14,
      received: 14,
    });
    t.match(proxy.audit.of('ended')[4], { outcome: 'completed', grpcStatus: status.NOT_FOUND });
    t.match(proxy.server.pools(), { keys: 1, idle: 1 });
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'a denied call: PERMISSION_DENIED with rule and decision, and not one byte upstream',
  async (t) => {
    await using upstream = await rawUpstream();
    const rules = [grpcRule('no-get', 'deny', ['Get']), grpcRule('list', 'allow', ['List', 'Get'])];
    await using proxy = await testProxy({
      destinations: [grpcSite(upstream, { mode: 'plaintext', rules })],
    });
    await using client = grpcClient(proxy.port('billing'));
    const denied = await client.unary('Get', 'x');
    t.match(denied, {
      value: undefined,
      code: status.PERMISSION_DENIED,
      details:
        /rule no-get of destination billing denies billing\.v1\.Invoices\/Get; deny rules win/,
    });
    await proxy.quiet();
    const [decided] = proxy.audit.of('decided');
    t.match(decided, {
      effect: 'deny',
      code: 'denied-by-rule',
      rule: 'no-get',
      method: `${SERVICE}/Get`,
    });
    t.strictSame(denied.trailers.get('chaperone-decision'), [
      decided !== undefined && 'exchange' in decided ? decided.exchange : '',
    ]);
    t.match(await client.unary('Fail', 'x'), {
      code: status.PERMISSION_DENIED,
      details: /Fail must be listed/,
    });
    t.equal((await client.stream('Chat').status()).code, status.PERMISSION_DENIED);
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], { outcome: 'denied', status: 200, grpcStatus: 7 });
    t.equal(upstream.connections.length, 0);
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('what is no call is refused, and not one byte upstream', async (t) => {
  await using upstream = await rawUpstream();
  const destination = grpcSite(upstream, { mode: 'plaintext' });
  await using proxy = await testProxy({ destinations: [destination] });
  await using client = http2Client(proxy.port('billing'), 'billing.internal');
  const ask = async (headers: Record<string, string>) =>
    client.ask('/', { ...CALL, ...path('Get'), ...headers }, MESSAGE);
  t.match(await ask({ 'content-type': 'application/json' }), { status: 415 });
  t.match(await ask({ 'content-type': 'application/grpc-web' }), { status: 415 });
  t.match(await client.ask(`/${SERVICE}/Get`), { status: 415 }, 'GET without a type');
  const refused = { status: 200, body: '' };
  const rows: readonly (readonly [Record<string, string>, number, RegExp])[] = [
    [{ 'grpc-timeout': '1' }, status.INVALID_ARGUMENT, /grpc-timeout is no timeout/],
    [{ 'grpc-timeout': '123456789S' }, status.INVALID_ARGUMENT, /grpc-timeout is no timeout/],
    [{ 'grpc-timeout': '1D' }, status.INVALID_ARGUMENT, /grpc-timeout/],
    [{ ':path': '/index' }, status.PERMISSION_DENIED, /no gRPC call/],
    [{ ':path': `/${SERVICE}/Get?x` }, status.PERMISSION_DENIED, /no gRPC call/],
    [{ ':path': `/${SERVICE}/Get/more` }, status.PERMISSION_DENIED, /no gRPC call/],
    [{ ':method': 'PUT' }, status.PERMISSION_DENIED, /no gRPC call/],
    [{ ':authority': 'other.internal' }, status.INVALID_ARGUMENT, /not that destination/],
    [{ 'proxy-authorization': 'Basic x' }, status.UNAUTHENTICATED, /./],
    [{ 'x-http-method-override': 'GET' }, status.INVALID_ARGUMENT, /another request/],
  ];
  for (const [headers, code, words] of rows) {
    const answer = await ask(headers);
    t.match(
      answer,
      { ...refused, headers: { 'content-type': 'application/grpc' } },
      JSON.stringify(headers),
    );
    t.equal(Number(answer.headers['grpc-status']), code, JSON.stringify(headers));
    t.match(answer.headers['grpc-message'], words);
  }
  const plain = await proxy.ask(
    `POST /${SERVICE}/Get HTTP/1.1\r\nHost: billing.internal\r\nContent-Type: ` +
      `application/grpc\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0`,
    'billing',
  );
  t.equal(statusOf(plain), 403, 'over HTTP/1.1');
  t.match(refusal(plain), { message: /no gRPC call.*HTTP\/2/ });
  const forward = await proxy.ask(
    'POST http://billing.internal/a.B/C HTTP/1.1\r\nHost: ' +
      'billing.internal\r\nContent-Length: 0\r\n\r\n',
  );
  t.equal(statusOf(forward), 403);
  t.match(refusal(forward), { code: 'wrong-entry', message: /local listener/ });
  await proxy.quiet();
  t.equal(upstream.connections.length, 0);
  t.same(unpaired(proxy.audit.records), []);
});

t.test(
  'grpc-timeout bounds the call: DEADLINE_EXCEEDED before and after the answer began, and the upstream is told',
  async (t) => {
    const authority = await testAuthority();
    await using server = await http2Upstream({ authority }, (stream, headers) => {
      stream.resume();
      if (headers[':path'] === `/${SERVICE}/Hang`) return;
      // Keeps the deadline itself, to the millisecond.
      if (headers[':path'] === `/${SERVICE}/Sum`)
        return void setTimeout(() => stream.close(8), 310);
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc' },
        { waitForTrailers: true },
      );
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      if (headers[':path'] === `/${SERVICE}/Watch`) stream.write('first');
      else stream.end(MESSAGE);
    });
    await using proxy = await testProxy({ authority, destinations: [grpcSite(server)] });
    await using client = http2Client(proxy.port('billing'), 'billing.internal');
    const began = performance.now();
    const hang = await client.ask(
      '/',
      { ...CALL, ...path('Hang'), 'grpc-timeout': '300m' },
      MESSAGE,
    );
    t.ok(performance.now() - began < 5000);
    t.match(hang, {
      status: 200,
      headers: {
        'grpc-status': '4',
        'grpc-message': /did not end before its deadline, within 300 ms/,
      },
    });
    const watch = client.open({ ...CALL, ...path('Watch'), 'grpc-timeout': '500000u' }, false);
    watch.stream.end(MESSAGE);
    await watch.sees('first');
    t.match(await watch.answer(), { status: 200, trailers: { 'grpc-status': '4' }, code: 0 });
    t.match(await client.ask('/', { ...CALL, ...path('Get'), 'grpc-timeout': '10H' }, MESSAGE), {
      status: 200,
      trailers: { 'grpc-status': '0' },
    });
    t.match(await client.ask('/', { ...CALL, ...path('Sum'), 'grpc-timeout': '300m' }, MESSAGE), {
      headers: { 'grpc-status': '4' },
    });
    await until('the upstream knows', () => server.codes.filter((code) => code !== 0).length === 3);
    await proxy.quiet();
    t.match(proxy.audit.of('ended').slice(0, 2), [
      { outcome: 'timeout', grpcStatus: 4 },
      { outcome: 'timeout', grpcStatus: 4, status: 200 },
    ]);
    t.equal(proxy.server.pools().idle, 1, 'the connection serves on');
  },
);

t.test(
  'a policy that no longer allows a stream ends it with PERMISSION_DENIED; a client that cancels tells the upstream',
  async (t) => {
    const authority = await testAuthority();
    await using server = await grpcServer(authority);
    await using proxy = await testProxy({ authority, destinations: [grpcSite(server)] });
    await using client = grpcClient(proxy.port('billing'));
    const [watch, chat] = [client.stream('Watch', 'x'), client.stream('Chat')];
    await watch.sees('first');
    chat.write('one');
    await chat.sees('one');
    proxy.policy.set(policyOf(grpcSite(server, { rules: [grpcRule('chat', 'allow', ['Chat'])] })));
    t.match(await watch.status(), {
      code: status.PERMISSION_DENIED,
      details: /no rule of destination billing allows/,
    });
    chat.write('two');
    await chat.sees('two');
    chat.cancel();
    await until('the upstream knows of both', () => server.cancelled.length === 2);
    await proxy.quiet();
    t.match(proxy.audit.of('ended'), [
      { outcome: 'no-longer-allowed', grpcStatus: 7 },
      { outcome: 'client-gone' },
    ]);
    t.match(proxy.audit.of('redecided'), [
      { effect: 'deny' },
      { effect: 'allow', code: 'allowed' },
    ]);
  },
);

t.test('faults of the upstream and limits have their status', async (t) => {
  const authority = await testAuthority();
  await using upstream = await http2Upstream({ authority }, (stream, headers, session) => {
    if (headers[':path'] === `/${SERVICE}/Hang`) return;
    if (headers[':path'] === `/${SERVICE}/Get`) return session.destroy();
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.write(MESSAGE);
    setTimeout(() => session.destroy(), 50);
    return undefined;
  });
  const gone = { ...grpcSite({ port: 1 }, { name: 'gone', hosts: ['gone.internal'] }) };
  const billing = grpcSite(upstream, { limits: { concurrent: 1, body: 10 } });
  await using proxy = await testProxy({ authority, destinations: [billing, gone] });
  await using client = grpcClient(proxy.port('billing'));
  await using other = grpcClient(proxy.port('gone'));
  t.match(await other.unary('Get', 'x'), {
    code: status.UNAVAILABLE,
    details: /cannot be reached/,
  });
  t.match(await client.unary('Get', 'x'), { code: status.UNAVAILABLE, details: /upstream/ });
  const cut = client.stream('Watch', 'x');
  t.match(await cut.status(), { code: status.UNAVAILABLE });
  t.match(await client.unary('Get', 'a message that is too long'), {
    code: status.RESOURCE_EXHAUSTED,
  });
  await proxy.quiet();
  const hang = client.stream('Hang', 'x');
  await until('it is under way', () =>
    upstream.requests.some((one) => one[':path'] === `/${SERVICE}/Hang`),
  );
  t.match(await client.unary('Get', 'x'), {
    code: status.RESOURCE_EXHAUSTED,
    details: /already has 1 exchanges/,
  });
  hang.cancel();
  await proxy.quiet();
  t.same(unpaired(proxy.audit.records), []);
});

t.test(
  'Trailers-Only, answers that are not gRPC, and the fields of a call cross as they are',
  async (t) => {
    await using upstream = await h2cUpstream((stream, headers) => {
      stream.resume();
      if (headers[':path'] === `/${SERVICE}/Fail`)
        return stream.respond(
          {
            ':status': 200,
            'content-type': 'application/grpc',
            'grpc-status': '5',
            'grpc-message': 'no',
          },
          { endStream: true },
        );
      stream.respond({
        ':status': 418,
        'content-type': 'text/plain',
        'x-te': String(headers['te']),
      });
      stream.end(String(headers['grpc-timeout']));
      return undefined;
    });
    await using proxy = await testProxy({
      destinations: [grpcSite(upstream, { mode: 'plaintext' })],
    });
    await using client = http2Client(proxy.port('billing'), 'billing.internal');
    const failed = await client.ask('/', { ...CALL, ...path('Fail') }, MESSAGE);
    t.match(failed, {
      status: 200,
      body: '',
      headers: { 'grpc-status': '5', 'grpc-message': 'no' },
    });
    t.equal(failed.headers['content-length'], undefined);
    const odd = await client.ask('/', { ...CALL, ...path('Get'), 'grpc-timeout': '5S' }, MESSAGE);
    t.match(odd, { status: 418, body: '5S', headers: { 'x-te': 'trailers' } });
    await proxy.quiet();
    t.match(proxy.audit.of('ended'), [
      { grpcStatus: 5, outcome: 'completed' },
      { status: 418, grpcStatus: undefined },
    ]);
  },
);

t.test('inside an intercepted tunnel: ALPN h2, calls judged one by one', async (t) => {
  const seen: Http2Seen = { sessions: [], requests: [], codes: [] };
  const raw = http2Server((stream) => {
    stream.resume();
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(MESSAGE);
  }, seen);
  await using w = await testInterception(t, {
    destination: { protocol: 'grpc', rules: [grpcRule('get', 'allow', ['Get'])] },
    upstream: { alpn: ['h2'], raw },
  });
  const agent = await tlsInTunnel(w.proxy, { ca: w.ca, alpn: ['h2'] });
  t.equal(agent.tls.alpnProtocol, 'h2');
  await agent.sees(/\0\0\0\0/);
  agent.tls.pause().removeAllListeners('data');
  agent.tls.unshift(Buffer.from(agent.text, 'latin1'));
  await using client = http2Client(0, 'api.example.com', agent.tls);
  const call = { ...CALL, ':scheme': 'https', ':authority': 'api.example.com' };
  t.match(await client.ask('/', { ...call, ...path('Get') }, MESSAGE), {
    status: 200,
    trailers: { 'grpc-status': '0' },
  });
  t.match(await client.ask('/', { ...call, ...path('Delete') }, MESSAGE), {
    status: 200,
    headers: { 'grpc-status': '7' },
  });
  t.match(
    await client.ask('/', { ...call, ...path('Get'), ':authority': 'other.example.com' }, MESSAGE),
    {
      headers: { 'grpc-status': '3' },
    },
  );
  t.equal(seen.requests.length, 1);
  t.match(seen.requests[0], {
    ':path': `/${SERVICE}/Get`,
    ':authority': 'api.example.com',
    te: 'trailers',
  });
  t.match(w.proxy.audit.of('decided').slice(1), [
    { entry: 'intercept', effect: 'allow', method: `${SERVICE}/Get` },
    { entry: 'intercept', effect: 'deny', method: `${SERVICE}/Delete` },
  ]);
});
