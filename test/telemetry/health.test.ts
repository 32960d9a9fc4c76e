/**
 * The health pages over real sockets: three pages, read-only, answered from the first moment, by
 * nobody else's rules.
 */
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import t from 'tap';
import { MAX_HEALTH, startHealth, type Health } from '../../lib/telemetry/health.ts';
import { readiness, type Readiness } from '../../lib/telemetry/readiness.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { until } from '../support/until.ts';

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

async function ask(port: number, path: string, method = 'GET'): Promise<Answer> {
  const asked = request({ host: '127.0.0.1', port, path, method, agent: false }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, headers: response.headers, body };
}

async function health(
  metrics = async (): Promise<string> => 'chaperone_ready 1\n',
): Promise<Health & { ready: Readiness }> {
  const ready = readiness(systemClock);
  const started = await startHealth({
    address: { host: '127.0.0.1', port: 0 },
    readiness: ready,
    metrics,
  });
  return { ...started, ready };
}

t.test(
  'live at once; ready when nothing is awaited, and says what is (invariant 10)',
  async (t) => {
    await using pages = await health();
    const { port } = pages.address;
    t.match(await ask(port, '/livez'), { status: 200, body: 'live\n' });
    const identity = pages.ready.pending('identity', 'waiting for the first SVID');
    const waiting = await ask(port, '/readyz');
    t.match(waiting, {
      status: 503,
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    });
    t.same(JSON.parse(waiting.body), {
      ready: false,
      waiting: ['identity: waiting for the first SVID, 0 s'],
    });
    t.match(await ask(port, '/livez'), { status: 200 }, 'waiting is not dying');
    identity.done();
    t.match(await ask(port, '/readyz?verbose'), {
      status: 200,
      body: '{"ready":true,"waiting":[]}\n',
    });
    t.match(await ask(port, '/metrics'), {
      status: 200,
      body: 'chaperone_ready 1\n',
      headers: { 'content-type': /version=0\.0\.4/ },
    });
  },
);

t.test('HEAD has no body; other methods are 405 with allow, other paths 404 (T9)', async (t) => {
  await using pages = await health();
  const { port } = pages.address;
  t.match(await ask(port, '/livez', 'HEAD'), {
    status: 200,
    body: '',
    headers: { 'content-length': '5' },
  });
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    t.match(await ask(port, '/readyz', method), { status: 405, headers: { allow: 'GET' } }, method);
  }
  for (const path of [
    '/',
    '/quitquitquit',
    '/status',
    '/livez/',
    '/LIVEZ',
    '//livez',
    '/metrics/x',
    '/__proto__',
  ]) {
    t.match(await ask(port, path), { status: 404 }, path);
  }
  t.match(await ask(port, '/quitquitquit', 'POST'), { status: 404 });
});

t.test('a page that fails is a 500, and the next one is answered', async (t) => {
  await using pages = await health(() => Promise.reject(new Error('no metrics today')));
  t.match(await ask(pages.address.port, '/metrics'), { status: 500, body: 'no metrics today\n' });
  t.match(await ask(pages.address.port, '/livez'), { status: 200 });
});

t.test(
  'large heads are refused, slow ones are cut, and closing leaves no connection',
  { timeout: 20_000 },
  async (t) => {
    const pages = await health();
    const { port } = pages.address;
    const large = connect(port, '127.0.0.1');
    large.write(`GET /livez HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(10_000)}\r\n\r\n`);
    const [answer]: unknown[] = await once(large, 'data');
    t.match(String(answer), /^HTTP\/1\.1 431 /);
    large.destroy();
    const slow = connect(port, '127.0.0.1');
    slow.write('GET /livez HTTP/1.1\r\n');
    slow.resume();
    const began = performance.now();
    await once(slow, 'close');
    t.ok(performance.now() - began < 8000, 'within the time limit and one look');
    const idle = connect(port, '127.0.0.1');
    await once(idle, 'connect');
    const closed = once(idle, 'close');
    idle.resume();
    await pages[Symbol.asyncDispose]();
    await closed;
  },
);

t.test('an address in use is a Fault that names it', async (t) => {
  await using pages = await health();
  const { port } = pages.address;
  const options = { readiness: readiness(systemClock), metrics: () => Promise.resolve('') };
  await t.rejects(startHealth({ ...options, address: { host: '127.0.0.1', port } }), {
    code: 'listen',
    message: new RegExp(`127\\.0\\.0\\.1:${port}.*EADDRINUSE`),
  });
});

t.test(
  'who holds all places keeps nobody out: of more connections than there are places the oldest idle one is cut',
  async (t) => {
    await using pages = await health();
    const { port } = pages.address;
    const held = await Promise.all(
      Array.from({ length: MAX_HEALTH + 1 }, async () => {
        const socket = connect(port, '127.0.0.1');
        socket.on('error', () => {});
        await once(socket, 'connect');
        return socket;
      }),
    );
    t.equal((await ask(port, '/livez')).status, 200);
    await until('two were cut for it', () => held.filter(({ destroyed }) => destroyed).length >= 2);
    for (const socket of held) socket.resume().destroy();
  },
);
