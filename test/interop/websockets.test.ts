/**
 * The Python package `websockets` with nothing but the variables that `chaperone env` prints: it
 * says CONNECT for ws:// too, and what it says inside is HTTP in the clear, which is judged as any
 * request is.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { proxyVariables } from '../../cmd/environment.ts';
import { unpaired } from '../support/audit.ts';
import { rule, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { missing } from './clients.ts';
import t from 'tap';

const SCRIPT = join(import.meta.dirname, 'websockets_peer.py');
const skip = missing(['python3', '-c', 'import websockets.asyncio.server']);
const run = promisify(execFile);

interface Served extends AsyncDisposable {
  readonly port: number;
}

async function serve(): Promise<Served> {
  const child = spawn('python3', [SCRIPT, 'serve'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return {
    port: Object(JSON.parse(line.toString())).port,
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

async function ask(proxy: TestProxy, url: string): Promise<unknown> {
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, ...proxyVariables(`http://127.0.0.1:${proxy.port()}`) };
  return JSON.parse((await run('python3', [SCRIPT, 'ask', url], { env })).stdout);
}

t.test('Python websockets over ws://', { skip }, async (t) => {
  await using server = await serve();
  const upstream = { host: '127.0.0.1', port: server.port };
  const rules = [
    rule('ws', 'allow', { paths: ['/ws'], websocket: true }),
    rule('read', 'allow', { paths: ['/v1'] }),
  ];
  await using proxy = await testProxy({
    destinations: [testDestination({ mode: 'plaintext', rules, upstream })],
  });

  await t.test('what is allowed is a WebSocket, long messages and its end included', async (t) => {
    t.same(await ask(proxy, 'ws://crm.internal/ws'), { first: 'HELLO', long: true, code: 1000 });
    await proxy.quiet();
    t.match(proxy.audit.of('decided'), [
      { entry: 'connect', effect: 'allow' },
      { entry: 'cleartext', effect: 'allow', rule: 'ws', path: '/ws' },
    ]);
  });

  await t.test('what is not allowed is refused inside, in words', async (t) => {
    const refused = { inside: 403, body: /no rule of destination crm allows/ };
    t.match(await ask(proxy, 'ws://crm.internal/other'), refused);
    t.match(await ask(proxy, 'ws://crm.internal/v1'), { inside: 403, body: /websocket: true/ });
    await proxy.quiet();
    t.match(proxy.audit.of('decided').at(-1), { entry: 'cleartext', effect: 'deny', path: '/v1' });
  });

  await t.test('a host that is not listed is refused at CONNECT, with the reason', async (t) => {
    t.match(await ask(proxy, 'ws://unlisted.example/ws'), {
      connect: 403,
      reason: /chaperone: .*unlisted\.example/,
    });
  });

  await proxy.quiet();
  t.same(unpaired(proxy.audit.records), []);
});
