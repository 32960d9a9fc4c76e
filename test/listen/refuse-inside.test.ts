/**
 * A refusal of policy is told inside the tunnel, where clients show it; nothing is resolved or
 * dialled for it.
 */
import { connect as http2Connect } from 'node:http2';
import { refusal, statusOf, testConnectionOver } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { rule, testDestination } from '../support/destination.ts';
import { openTunnel, tlsInTunnel } from '../support/tunnel.ts';
import { testInterception } from '../support/interception.ts';
import t from 'tap';

const GET = 'GET /secret HTTP/1.1\r\nHost: other.example.com\r\nAccept: application/json\r\n\r\n';

t.test(
  'an unlisted host of intercept.domains is refused inside the TLS, in the words of the record',
  async (t) => {
    await using w = await testInterception(t);
    const agent = await tlsInTunnel(w.proxy, { ca: w.ca, authority: 'other.example.com:443' });
    t.equal(agent.tls.getPeerX509Certificate()?.subjectAltName, 'DNS:other.example.com');
    agent.write(GET);
    const answer = await agent.ended();
    t.equal(statusOf(answer), 403);
    t.match(refusal(answer), {
      code: 'denied',
      message: /no destination has other\.example\.com:443/,
    });
    await w.proxy.quiet();
    const [decided] = w.proxy.audit.of('decided');
    t.match(decided, {
      entry: 'connect',
      effect: 'deny',
      code: 'unlisted',
      exchange: refusal(answer).decision,
    });
    t.match(w.proxy.audit.of('ended'), [{ outcome: 'denied', status: 403, toldInside: true }]);
    t.equal(w.proxy.audit.records.length, 2, 'one exchange, two records');
    t.same(unpaired(w.proxy.audit.records), []);
    t.same(w.upstream.connections, []);
    t.same(w.proxy.asked, []);
  },
);

t.test('over HTTP/2 and in the clear it is told as well, to the first request alone', async (t) => {
  await using w = await testInterception(t);
  const agent = await tlsInTunnel(w.proxy, {
    ca: w.ca,
    authority: 'other.example.com:443',
    alpn: ['h2'],
  });
  const session = http2Connect('https://other.example.com', { createConnection: () => agent.tls });
  session.on('error', () => {});
  const stream = session.request({ ':path': '/x' });
  const [headers] = await new Promise<[Record<string, unknown>]>((resolve, reject) =>
    stream.once('response', (head) => resolve([head])).once('error', reject),
  );
  t.equal(headers[':status'], 403);
  t.match(headers['chaperone-decision'], /^[0-9a-f-]{36}$/);
  session.destroy();

  const line = await openTunnel(w.proxy, 'other.example.com:8080');
  t.match(line.text, /^HTTP\/1\.1 200 /);
  line.socket.removeAllListeners();
  const clear = testConnectionOver(line.socket);
  clear.write(
    'GET / HTTP/1.1\r\nHost: other.example.com:8080\r\n\r\nGET /again HTTP/1.1\r\nHost: x\r\n\r\n',
  );
  const answers = await clear.ended();
  t.equal(answers.match(/HTTP\/1\.1 403 /g)?.length, 1);
  await w.proxy.quiet();
  t.match(w.proxy.audit.of('ended'), [{ toldInside: true }, { toldInside: true }]);
  t.same(w.upstream.connections, []);
});

t.test(
  'all certificates for refusals have one key, and none of it is that of a host that is served',
  async (t) => {
    await using w = await testInterception(t);
    const keyOf = async (host: string): Promise<string> => {
      const agent = await tlsInTunnel(w.proxy, { ca: w.ca, authority: `${host}:443` });
      const key = agent.tls
        .getPeerX509Certificate()
        ?.publicKey.export({ type: 'spki', format: 'pem' });
      agent.tls.destroy();
      return String(key);
    };
    const [one, two, served] = [
      await keyOf('a.example.com'),
      await keyOf('b.example.com'),
      await keyOf('api.example.com'),
    ];
    t.equal(one, two);
    t.not(one, served);
  },
);

t.test(
  '407, malformed requests, other domains and what is over the rate are answered at the CONNECT',
  async (t) => {
    const plain = testDestination({
      name: 'plain',
      hosts: ['plain.test'],
      task: 'required',
      rules: [rule('all', 'allow')],
    });
    await using w = await testInterception(t, { proxy: { destinations: [plain] } });
    const ask = async (authority: string, more = ''): Promise<string> => {
      const line = await w.proxy.open();
      line.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${more}\r\n`);
      const text = await line.sees(/\r\n\r\n/);
      line.socket.destroy();
      return text;
    };
    t.equal(statusOf(await ask('elsewhere.test:443')), 403, 'outside of the domains');
    t.equal(statusOf(await ask('x.example.com:443', 'Proxy-Authorization: Basic eDp5\r\n')), 407);
    t.equal(statusOf(await ask('x.example.com:0')), 400);
    t.equal(statusOf(await ask('plain.test:80')), 407, 'a task is required');
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => ask(`h${i}.example.com:443`)),
    );
    const statuses = answers.map(statusOf);
    t.ok(statuses.filter((status) => status === 200).length >= 50);
    t.ok(statuses.includes(403), 'past the rate the CONNECT itself is refused');
    await w.proxy.quiet();
    t.same(unpaired(w.proxy.audit.records), []);
    t.same(w.upstream.connections, []);
  },
);

t.test('where the document says so every refusal is the answer to the CONNECT', async (t) => {
  await using w = await testInterception(t, { refusals: 'connect' });
  const answer = await w.proxy.ask(
    'CONNECT other.example.com:443 HTTP/1.1\r\nHost: other.example.com:443\r\n\r\n',
  );
  t.match(answer, /^HTTP\/1\.1 403 chaperone: no destination has other\.example\.com:443/);
});

t.test(
  'an agent that does not trust the CA is not told inside, and the record has the refusal',
  async (t) => {
    await using w = await testInterception(t);
    await t.rejects(
      tlsInTunnel(w.proxy, { ca: w.authority.pem, authority: 'other.example.com:443' }),
    );
    await w.proxy.quiet();
    const [ended] = w.proxy.audit.of('ended');
    t.match(ended, { outcome: 'denied', status: 200 });
    t.notMatch(ended, { toldInside: true });
  },
);
