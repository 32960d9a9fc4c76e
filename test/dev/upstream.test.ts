import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { certificatesPem } from '../../lib/interception/issue.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDemoUpstream } from '../../lib/dev/upstream.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';

const AGENT = parseSpiffeId('spiffe://example.org/agent');
const NOBODY = parseSpiffeId('spiffe://example.org/nobody');

async function start(t: Test, service: 'api' | 'echo') {
  const domain = await createDevTrustDomain({ name: 'example.org', clock: systemClock });
  const socket = `${shortFolder(t)}/private/api.sock`;
  const api = await startDevWorkloadApi({
    socket,
    domain,
    identities: [{ id: '/first' }, { id: '/crm', hint: 'crm' }],
  });
  const upstream = await startDemoUpstream({
    endpoint: api.endpoint,
    select: { hint: 'crm' },
    callers: [AGENT],
    service,
    clock: systemClock,
  });
  t.teardown(async () => {
    await upstream[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
  });
  const options = async (id = AGENT) => {
    const svid = await domain.issue(id, 60_000);
    return {
      host: '127.0.0.1',
      port: Number(upstream.address.split(':')[1]),
      ca: certificatesPem(domain.current().x509.map(({ certificate }) => certificate)),
      checkServerIdentity: () => undefined,
      cert: svid.certificatesPem,
      key: svid.privateKeyPem,
    };
  };
  return { api, upstream, options };
}

t.test('the demo API answers its callers and remembers who they were', async (t) => {
  const { upstream, options } = await start(t, 'api');
  const call = async (
    method: string,
    path: string,
    body = '',
  ): Promise<{ status: number; body: string }> => {
    const request = httpsRequest({ ...(await options()), agent: false, method, path });
    request.end(body);
    const [response] = await once(request, 'response');
    return { status: response.statusCode, body: await text(response) };
  };
  t.match(await call('GET', '/v1/customers'), { status: 200, body: /Ada Engines/ });
  t.match(await call('GET', '/v1/customers/1003?x=1'), { status: 200, body: /Hopper/ });
  t.match(await call('GET', '/v1/customers/9'), { status: 404 });
  t.match(await call('POST', '/v1/notes', '{"customer":"1001","text":"called back"}'), {
    status: 201,
    body: /"author":"spiffe:\/\/example.org\/agent"/,
  });
  t.match(await call('GET', '/v1/notes'), { status: 200, body: /called back/ });
  for (const bad of ['{', '{}', '{"customer":1,"text":"x"}', '{"customer":"1001","text":""}'])
    t.equal((await call('POST', '/v1/notes', bad)).status, 400);
  t.match(await call('GET', '/v1/export/customers'), {
    status: 200,
    body: /^id,name,plan\r\n1001,/,
  });
  t.match(await call('DELETE', '/v1/customers'), { status: 405 });
  t.match(await call('GET', '/v1/whoami'), { status: 200, body: AGENT });
  t.equal((await call('POST', '/v1/notes', 'x'.repeat(70_000))).status, 413);
  t.equal(upstream.requests().length, 12);
  t.equal(upstream.requests()[0]?.peer.spiffeId, AGENT);
  t.equal(upstream.connections(), 13);
});

t.test('a caller that is not expected is refused unread', async (t) => {
  const { upstream, options } = await start(t, 'api');
  const socket = connect(await options(NOBODY));
  socket.on('error', () => 'refused');
  socket.write('GET /v1/customers HTTP/1.1\r\nHost: crm\r\n\r\n');
  await once(socket, 'close');
  await until('the refusal is noted', () => upstream.refused().length === 1);
  t.match(upstream.refused()[0], NOBODY);
  t.same([upstream.requests(), upstream.callers()], [[], []]);
});

t.test(
  'the echo sends every byte back, counts them, and shows a new certificate after a rotation',
  async (t) => {
    const { api, upstream, options } = await start(t, 'echo');
    const shown = async (): Promise<string> => {
      const socket = connect(await options());
      socket.end('every byte');
      t.equal(await text(socket), 'every byte');
      return upstream.callers().at(-1)?.ourSerial ?? '';
    };
    const first = await shown();
    t.equal(upstream.callers()[0]?.received, 10, 'application bytes, not ciphertext');
    const { generation } = upstream.identity.current();
    await api.rotate();
    await until('the new SVID is there', () => upstream.identity.current().generation > generation);
    t.not(await shown(), first);
  },
);
