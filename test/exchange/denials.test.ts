/**
 * What a refusal does to the agent's connection: kept where the message was understood and read
 * whole, closed where it was not.
 */
import t from 'tap';
import { httpLimits } from '../../lib/http/limits.ts';
import type { TestConnection } from '../support/agent.ts';
import { rule, testDestination } from '../support/destination.ts';
import { type TlsInTunnel, tlsInTunnel } from '../support/tunnel.ts';
import { testInterception } from '../support/interception.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';

t.setTimeout(240_000);

const RULES = [rule('some', 'allow', { methods: ['GET', 'POST'], paths: ['/yes/**'] })];

async function plain(): Promise<{ proxy: TestProxy; upstream: RawUpstream } & AsyncDisposable> {
  const upstream = await rawUpstream();
  const to = { host: '127.0.0.1', port: upstream.port };
  const limits = httpLimits({ lingerMs: 300 });
  const destinations = [
    testDestination({ mode: 'plaintext', listen: true, upstream: to, rules: RULES }),
  ];
  const proxy = await testProxy({ destinations, options: { limits } });
  return {
    proxy,
    upstream,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

function asked(host: string, line: string, fields = ''): string {
  return `${line} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;
}

const statuses = (text: string): string[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status = '']) => status);

/** Writes and waits for so many answers more. */
async function answers(
  line: TestConnection | TlsInTunnel,
  data: string,
  count = 1,
): Promise<string[]> {
  const before = statuses(line.text).length;
  line.write(data);
  await until('the answers', () => statuses(line.text).length >= before + count, 60_000);
  return statuses(line.text).slice(before);
}

/**
 * A denied request, one that is allowed, a denied one with a body that comes later, and one that is
 * allowed.
 */
async function kept(
  line: TestConnection | TlsInTunnel,
  host: string,
  base: string,
): Promise<string[]> {
  const seen = await answers(line, asked(host, `GET ${base}/no`));
  seen.push(...(await answers(line, asked(host, `GET ${base}/yes/1`))));
  seen.push(...(await answers(line, asked(host, `POST ${base}/no`, 'Content-Length: 50000\r\n'))));
  line.write('x'.repeat(25_000));
  await new Promise((resolve) => setTimeout(resolve, 50));
  seen.push(...(await answers(line, `${'x'.repeat(25_000)}${asked(host, `GET ${base}/yes/2`)}`)));
  return seen;
}

t.test('a denial keeps the connection, on every way in', async (t) => {
  await using both = await plain();
  const { proxy, upstream } = both;
  const wanted = ['403', '200', '403', '200'];
  t.same(await kept(await proxy.open(), 'crm.internal', 'http://crm.internal'), wanted, 'forward');
  t.same(await kept(await proxy.open('crm'), 'crm.internal', ''), wanted, 'listener');
  t.notMatch(upstream.connections.map(({ raw }) => raw.text).join(''), /\/no/);
  await using inner = await testInterception(t, { destination: { rules: RULES } });
  const tunnelled = await tlsInTunnel(inner.proxy, { ca: inner.ca });
  t.same(await kept(tunnelled, 'api.example.com', ''), wanted, 'intercept');
  t.notMatch(inner.upstream.connections.map((one) => one.plain.text).join(''), /\/no/);
});

t.test('what is sent behind a denied request is judged by itself', async (t) => {
  await using both = await plain();
  const { proxy, upstream } = both;
  const line = await proxy.open();
  const no = asked('crm.internal', 'GET http://crm.internal/no');
  const yes = asked('crm.internal', 'GET http://crm.internal/yes/1');
  const many = await answers(line, no.repeat(300), 300);
  t.same(new Set(many), new Set(['403']));
  t.equal(upstream.connections.length, 0);
  t.same(await answers(line, no + yes + no + yes, 4), ['403', '200', '403', '200']);
  t.equal(proxy.audit.of('decided').length, 304);
});

t.test('a request that names no live task is refused, and its connection kept', async (t) => {
  await using both = await plain();
  const line = await both.proxy.open();
  const unknown = asked(
    'crm.internal',
    'GET http://crm.internal/yes/1',
    'Proxy-Authorization: Basic eDp5\r\n',
  );
  t.same(await answers(line, unknown), ['407']);
  t.same(await answers(line, asked('crm.internal', 'GET http://crm.internal/yes/1')), ['200']);
});

t.test('what was not understood, or is not read whole, ends the connection', async (t) => {
  await using both = await plain();
  const { proxy, upstream } = both;
  const url = 'http://crm.internal/no';
  const cases: Readonly<Record<string, string>> = {
    'not HTTP': asked('crm.internal', `GET ${url}`, 'X A: b\r\n'),
    ambiguous: asked('crm.internal', 'GET http://crm.internal/yes%2fno'),
    'a long body': asked('crm.internal', `POST ${url}`, 'Content-Length: 65537\r\n'),
    chunks: asked('crm.internal', `POST ${url}`, 'Transfer-Encoding: chunked\r\n'),
    'a body that waits to be asked for': asked(
      'crm.internal',
      `POST ${url}`,
      'Expect: 100-continue\r\nContent-Length: 3\r\n',
    ),
  };
  for (const [name, text] of Object.entries(cases)) {
    const line = await proxy.open();
    line.write(text + asked('crm.internal', 'GET http://crm.internal/yes/1'));
    const all = await line.ended();
    t.equal(statuses(all).length, 1, name);
    t.match(all, /\r\nconnection: close\r\n/i, name);
  }
  t.equal(upstream.connections.length, 0);
});

t.test('a body that was announced and never comes ends the connection in its time', async (t) => {
  await using both = await plain();
  const line = await both.proxy.open();
  t.same(
    await answers(
      line,
      asked('crm.internal', 'POST http://crm.internal/no', 'Content-Length: 3\r\n'),
    ),
    ['403'],
  );
  line.write('x');
  await line.ended();
  t.same(statuses(line.text), ['403']);
  const gone = await both.proxy.open();
  await answers(
    gone,
    asked('crm.internal', 'POST http://crm.internal/no', 'Content-Length: 3\r\n'),
  );
  gone.socket.end();
  await gone.ended();
  t.equal(both.upstream.connections.length, 0);
});
