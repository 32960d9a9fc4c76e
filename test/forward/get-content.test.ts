/**
 * Content on a GET: by rule alone, and never on a connection that carries another request
 * afterwards.
 */
import t from 'tap';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { type DestinationOptions, rule, testDestination } from '../support/destination.ts';
import { http2Client } from '../support/http2-client.ts';
import { h2cUpstream } from '../support/http2-upstream.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import type { Rule } from '../support/service.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';

function allowing(name: string, paths: string[]): Rule {
  const plain = rule(name, 'allow', { methods: ['GET', 'POST'], paths });
  return { ...plain, http: plain.http && { ...plain.http, contentOnGet: true } };
}

const RULES = [
  rule('never', 'deny', { paths: ['/_search/secret'] }),
  allowing('search', ['/_search/**']),
  rule('rest', 'allow', { methods: ['GET', 'POST'], paths: ['/**'] }),
];

const to = (
  upstream: { readonly port: number },
  more: DestinationOptions = {},
): Promise<TestProxy> =>
  testProxy({
    identity: 'none',
    destinations: [
      testDestination({
        mode: 'plaintext',
        listen: true,
        rules: RULES,
        upstream: { host: '127.0.0.1', port: upstream.port },
        ...more,
      }),
    ],
  });

const get = (path: string, ...lines: readonly string[]): string =>
  `GET http://crm.internal${path} HTTP/1.1\r\nHost: ` +
  `crm.internal\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

/** Reads whole requests, and answers each. */
function server(): Promise<RawUpstream> {
  return rawUpstream({ http: (_, response) => void response.end('found') });
}

t.test(
  'a GET with content passes where its rule allows it, on a connection of its own',
  async (t) => {
    await using upstream = await server();
    await using proxy = await to(upstream);
    const line = await proxy.open();
    line.write(get('/_search/a', 'Content-Length: 2') + '{}');
    await line.sees('found');
    line.write(get('/_search/b', 'Transfer-Encoding: chunked') + '3\r\n{ }\r\n0\r\n\r\n');
    await line.sees(/found[^]*found/);
    line.write(get('/_search/c'));
    await line.sees(/found[^]*found[^]*found/);
    line.write(get('/_search/d'));
    await line.sees(/found[^]*found[^]*found[^]*found/);
    line.socket.destroy();
    await proxy.quiet();
    const seen = upstream.connections.map(({ raw }) => raw.text);
    t.match(seen[0], /^GET \/_search\/a [^]*\r\ncontent-length: 2\r\n[^]*\{\}$/);
    t.match(
      seen[1],
      /^GET \/_search\/b [^]*\r\ntransfer-encoding: chunked\r\n[^]*3\r\n\{ \}\r\n0\r\n\r\n$/,
    );
    t.match(seen[2], /^GET \/_search\/c [^]*GET \/_search\/d /, 'others share one as ever');
    t.equal(seen.length, 3);
    t.match(proxy.audit.of('ended')[0], { outcome: 'completed', sent: 2 });
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('it passes over HTTP/2 on both sides', async (t) => {
  await using upstream = await h2cUpstream();
  await using proxy = await to(upstream, { http2: true });
  await using client = http2Client(proxy.port('crm'));
  const answer = await client.ask('/_search/a', { ':method': 'GET' }, '{}');
  t.equal(answer.status, 200);
  t.match(answer.body, /":method":"GET".*"body":"\{\}"/);
  t.equal((await client.ask('/other', { ':method': 'GET' }, '{}')).status, 403);
});

t.test('another rule of the destination does not allow it: 403 and not one byte', async (t) => {
  await using upstream = await server();
  await using proxy = await to(upstream);
  const other = await proxy.ask(`${get('/other', 'Content-Length: 2', 'Connection: close')}{}`);
  t.equal(statusOf(other), 403);
  t.match(refusal(other).message, /contentOnGet: allow/);
  const denied = await proxy.ask(
    `${get('/_search/secret', 'Content-Length: 2', 'Connection: close')}{}`,
  );
  t.equal(statusOf(denied), 403, 'a deny rule is about it anyway');
  t.match(proxy.audit.of('decided'), [{ effect: 'deny' }, { effect: 'deny', rule: 'never' }]);
  for (const method of ['HEAD', 'TRACE'])
    t.equal(
      statusOf(
        await proxy.ask(`${get('/_search/a', 'Content-Length: 2').replace('GET', method)}{}`),
      ),
      400,
      method,
    );
  t.equal(upstream.received(), 0);
});
