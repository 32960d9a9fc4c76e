import { createHash } from 'node:crypto';
import { refusal, statusOf } from '../support/agent.ts';
import { policyOf, rule, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';
const handshake = (more = ''): string =>
  `GET http://crm.internal/ws HTTP/1.1\r\nHost: crm.internal\r\nConnection: ` +
  `Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ` +
  `${KEY}\r\n${more}\r\n`;

/** Switches as it is told, then echoes. */
function server(answer: (accept: string) => string): Promise<RawUpstream> {
  return rawUpstream({
    raw: (socket) =>
      void socket.once('data', (head: Buffer) => {
        const key = /sec-websocket-key: (\S+)/i.exec(head.toString('latin1'))?.[1] ?? '';
        socket.write(
          answer(
            createHash('sha1')
              .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
              .digest('base64'),
          ),
        );
        socket.on('data', (chunk: Buffer) => socket.write(chunk)).on('end', () => socket.end());
      }),
  });
}

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';

function to(upstream: RawUpstream, websocket = true): Promise<TestProxy> {
  const rules = [rule('ws', 'allow', { methods: ['GET'], websocket })];
  return testProxy({
    identity: 'none',
    destinations: [
      testDestination({
        mode: 'plaintext',
        rules,
        upstream: { host: '127.0.0.1', port: upstream.port },
      }),
    ],
  });
}

t.test(
  'a WebSocket goes through the same pipeline, with keys of our own on both sides (T4)',
  async (t) => {
    await using upstream = await server(
      (accept) =>
        `${SWITCH}Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nearly`,
    );
    await using proxy = await to(upstream);
    const line = await proxy.open();
    line.write(
      handshake(
        'Sec-WebSocket-Protocol: chat, other\r\nSec-WebSocket-Extensions: permessage-deflate\r\n',
      ),
    );
    await line.sees('early');
    t.match(
      line.text,
      new RegExp(`^HTTP/1.1 101 [^]*sec-websocket-accept: ${ACCEPT.replaceAll('+', '\\+')}\r\n`),
    );
    t.match(line.text, /sec-websocket-protocol: chat\r\n[^]*chaperone-decision/);
    const sent = upstream.connections[0]?.raw.text ?? '';
    t.notMatch(sent, KEY);
    t.notMatch(
      sent,
      /extensions/i,
      'frames are not looked into, so nothing may change their meaning',
    );
    line.write('frame');
    await line.sees('frame');
    line.socket.end();
    await line.ended();
    await proxy.quiet();
    t.match(proxy.audit.of('decided'), [{ effect: 'allow', rule: 'ws' }]);
    t.match(proxy.audit.of('ended'), [
      { outcome: 'completed', status: 101, sent: 5, received: 10 },
    ]);
    await upstream.quiet();
  },
);

t.test('a rule that does not say websocket: true does not allow one (T4)', async (t) => {
  await using upstream = await server(() => '');
  await using proxy = await to(upstream, false);
  const answer = await proxy.ask(handshake());
  t.equal(statusOf(answer), 403);
  t.match(refusal(answer), { message: /websocket: true/ });
  t.same(upstream.connections, []);
});

t.test('a malformed handshake is 400 and reaches nobody', async (t) => {
  await using upstream = await server(() => '');
  await using proxy = await to(upstream);
  const rows: readonly (readonly [string, string])[] = [
    ['no key', handshake().replace(/Sec-WebSocket-Key.*\r\n/, '')],
    ['two keys', handshake(`Sec-WebSocket-Key: ${KEY}\r\n`)],
    ['a short key', handshake().replace(KEY, 'AAAA')],
    ['version 8', handshake().replace('Version: 13', 'Version: 8')],
    ['two versions', handshake('Sec-WebSocket-Version: 13\r\n')],
    ['POST', handshake().replace('GET', 'POST')],
    ['a body', handshake('Content-Length: 1\r\n').replace('GET', 'POST')],
  ];
  for (const [title, request] of rows) t.equal(statusOf(await proxy.ask(request)), 400, title);
  t.same(upstream.connections, []);
});

t.test('websocket anywhere in Upgrade is served, or denied where no rule allows it', async (t) => {
  await using upstream = await server(
    (accept) => `${SWITCH}Sec-WebSocket-Accept: ${accept}\r\n\r\nearly`,
  );
  await using proxy = await to(upstream);
  await using denying = await to(upstream, false);
  for (const offer of [
    'websocket, h2c',
    'h2c, WebSocket',
    ', h2c,,websocket ,',
    'h2c\r\nUpgrade: websocket',
  ]) {
    const request = handshake().replace('Upgrade: websocket', `Upgrade: ${offer}`);
    t.equal(statusOf(await denying.ask(request)), 403, offer);
    const line = await proxy.open();
    line.write(
      request.replace(
        'Connection: Upgrade',
        'Connection: Upgrade,, HTTP2-Settings\r\nHTTP2-Settings: AA',
      ),
    );
    await line.sees('early');
    line.socket.destroy();
  }
  t.equal(upstream.connections.length, 4);
  for (const { raw } of upstream.connections) {
    t.match(raw.text, /\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n$/);
    t.notMatch(raw.text, /h2c|http2-settings/i);
  }
});

t.test(
  'an upstream that answers the handshake wrongly is 502; one that declines is relayed',
  async (t) => {
    const rows: readonly (readonly [string, (accept: string) => string, number])[] = [
      ['a wrong accept', () => `${SWITCH}Sec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`, 502],
      ['no accept', () => `${SWITCH}\r\n`, 502],
      [
        'another protocol',
        (accept) =>
          `HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ` +
          `${accept}\r\n\r\n`,
        502,
      ],
      [
        'an extension',
        (accept) =>
          `${SWITCH}Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Extensions: ` +
          `permessage-deflate\r\n\r\n`,
        502,
      ],
      [
        'a subprotocol that was not offered',
        (accept) =>
          `${SWITCH}Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n`,
        502,
      ],
      ['it declines', () => 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n', 401],
    ];
    for (const [title, answer, status] of rows) {
      await using upstream = await server(answer);
      await using proxy = await to(upstream);
      const line = await proxy.open();
      line.write(handshake());
      await until(`${title} is answered`, () => statusOf(line.text) !== 0);
      t.equal(statusOf(line.text), status, title);
      line.socket.destroy();
      await proxy.quiet();
      if (status === 502) await upstream.quiet();
    }
  },
);

t.test('a policy that no longer allows it cuts an open WebSocket within a second', async (t) => {
  await using upstream = await server(
    (accept) => `${SWITCH}Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  await using proxy = await to(upstream);
  const line = await proxy.open();
  line.write(handshake());
  await line.sees('101');
  line.write('frame');
  await line.sees('frame');
  const began = performance.now();
  proxy.policy.set(
    policyOf(
      testDestination({
        mode: 'plaintext',
        rules: [rule('ws', 'allow', { methods: ['GET'] })],
        upstream: { host: '127.0.0.1', port: upstream.port },
      }),
    ),
  );
  await until('the agent sees a cut', () => line.reset);
  t.ok(performance.now() - began < 1000);
  await proxy.quiet();
  t.match(proxy.audit.of('redecided'), [{ effect: 'deny', code: 'no-longer-allowed' }]);
  t.match(proxy.audit.of('ended'), [{ outcome: 'no-longer-allowed' }]);
  await upstream.quiet();
});
