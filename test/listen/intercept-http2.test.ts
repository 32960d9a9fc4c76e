/** HTTP/2 inside an intercepted tunnel: every stream is judged by itself. */
import { constants } from 'node:http2';
import { unpaired } from '../support/audit.ts';
import { policyOf } from '../support/destination.ts';
import { type Http2Client, http2Client, refusalOf } from '../support/http2-client.ts';
import { tlsInTunnel } from '../support/tunnel.ts';
import { type TestInterception, testInterception } from '../support/interception.ts';
import t from 'tap';

const HTTPS = { ':scheme': 'https' };

async function client(w: TestInterception): Promise<Http2Client> {
  const { tls } = await tlsInTunnel(w.proxy, { ca: w.ca, alpn: ['h2', 'http/1.1'] });
  if (tls.alpnProtocol !== 'h2') throw new Error(`agreed on ${tls.alpnProtocol}`);
  tls.removeAllListeners('data');
  return http2Client(0, 'api.example.com', tls);
}

t.test(
  'each stream is judged by itself, allowed ones beside denied ones, and leaves its own records',
  async (t) => {
    await using w = await testInterception(t);
    await using h2 = await client(w);
    const answers = await Promise.all([
      h2.ask('/v1/items?page=2', HTTPS),
      h2.ask('/export/all', HTTPS),
      h2.ask('/v1/items', HTTPS, 'hello'),
    ]);
    t.match(
      answers.map(({ status }) => status),
      [200, 403, 200],
    );
    t.match(answers[0]?.body, /"url":"\/v1\/items\?page=2"/);
    t.match(answers[2]?.body, /"body":"hello"/);
    h2.session.close();
    await w.proxy.quiet();
    const [connect, ...streams] = w.proxy.audit.of('decided');
    const tunnel = connect?.kind === 'decided' ? connect.exchange : '';
    t.match(connect, { entry: 'connect', effect: 'allow' });
    t.equal(streams.length, 3);
    for (const one of streams) t.match(one, { entry: 'intercept', tunnel });
    t.same(unpaired(w.proxy.audit.records), []);
    t.notMatch(w.upstream.connections.map(({ plain }) => plain.text).join(''), /export/);
  },
);

t.test('a stream for another authority is 421 and its neighbours go on (A2, A3)', async (t) => {
  await using w = await testInterception(t);
  await using h2 = await client(w);
  const rows: readonly (readonly [string, Record<string, string>, number])[] = [
    ['another host', { ':authority': 'evil.example.com' }, 421],
    ['another port', { ':authority': 'api.example.com:8443' }, 421],
    ['a Host that differs', { host: 'evil.example.com' }, 400],
    ['the scheme in the clear', { ':scheme': 'http' }, 400],
  ];
  for (const [title, headers, status] of rows) {
    const [bad, good] = await Promise.all([
      h2.ask('/x', { ...HTTPS, ...headers }),
      h2.ask('/ok', HTTPS),
    ]);
    t.equal(bad.status, status, title);
    if (status === 421) t.match(refusalOf(bad), { code: 'misdirected' }, title);
    t.equal(good.status, 200, title);
  }
  h2.session.close();
  await w.proxy.quiet();
  const sent = w.upstream.connections.map(({ plain }) => plain.text).join('');
  t.equal(sent.match(/^GET \/ok /gm)?.length, rows.length);
  t.notMatch(sent, /evil|\/x /);
  t.same(unpaired(w.proxy.audit.records), []);
});

t.test('a policy change cuts the tunnel with its streams', async (t) => {
  await using w = await testInterception(t);
  await using h2 = await client(w);
  t.equal((await h2.ask('/a', HTTPS)).status, 200);
  w.proxy.policy.set(policyOf());
  await w.proxy.quiet();
  t.match(w.proxy.audit.of('ended').at(-1), { outcome: 'no-longer-allowed' });
});

t.test('an idle connection is told to go when the proxy drains', async (t) => {
  await using w = await testInterception(t);
  await using h2 = await client(w);
  t.equal((await h2.ask('/a', HTTPS)).status, 200);
  await w.proxy.server.drain(new AbortController().signal);
  t.equal(h2.goaway ?? constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_NO_ERROR);
  t.match(
    w.proxy.audit.of('ended').map((one) => (one.kind === 'ended' ? one.outcome : '')),
    ['completed', 'completed'],
  );
});
