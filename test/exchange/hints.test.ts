/**
 * A hint that names a key is held to it: with the key as it is the request is refused in words that
 * name it, with the key raised the same request is served. The first test walks over the hints of
 * lib.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type HeadSizes, type HttpLimits, headLimits, httpLimits } from '../../lib/http/limits.ts';
import type { Limits, Timeouts } from '../../lib/policy/model/destination.ts';
import { statusOf } from '../support/agent.ts';
import { type DestinationOptions, rule, testDestination } from '../support/destination.ts';
import { call, result, testMcpProxy } from '../support/mcp.ts';
import { testProxy } from '../support/proxy.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

t.setTimeout(240_000);

const ROOT = join(import.meta.dirname, '../..');

/** What one request comes to. */
interface Case {
  readonly low: Setting;
  readonly high: Setting;
  readonly request: string;
  /** What comes behind it, later. */
  readonly later?: string;
  readonly upstream?: () => Promise<RawUpstream>;
  readonly status: number;
}

interface Setting {
  readonly limits?: Partial<HttpLimits>;
  readonly timeouts?: Partial<Timeouts>;
  readonly of?: Partial<Limits>;
}

const LATE_MS = 700;
const SOON: Setting = { limits: {} };
const URL_ = 'http://crm.internal';
const get = (target: string, fields = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: crm.internal\r\n${fields}Connection: close\r\n\r\n`;
const post = (length: number, sent: number): string =>
  `POST ${URL_}/ HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\nContent-Length: ` +
  `${length}\r\n\r\n${'x'.repeat(sent)}`;
const sizes = (changes: HeadSizes): Setting => ({ limits: headLimits(changes) });
const K = 1024;
const lines = (count: number, length: number): string =>
  Array.from({ length: count }, (_, i) => `X-${i}: ${'v'.repeat(length)}\r\n`).join('');

const answering = (act: (answer: () => void) => void) => (): Promise<RawUpstream> =>
  rawUpstream({ http: (_, response) => act(() => void response.end('ok')) });
/** Takes heads of any size. */
const patient = (): Promise<RawUpstream> =>
  rawUpstream({
    raw(socket) {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        if (text.includes('\r\n\r\n'))
          socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      });
    },
  });
const slow = answering((answer) => void setTimeout(answer, LATE_MS));

const CASES: Readonly<Record<string, Case>> = {
  'listeners.maxHead': {
    low: SOON,
    high: sizes({ maxHead: 128 * K }),
    request: get(`${URL_}/`, lines(40, K)),
    upstream: patient,
    status: 431,
  },
  'listeners.maxField': {
    low: SOON,
    high: sizes({ maxHead: 32 * K, maxField: 24 * K }),
    request: get(`${URL_}/`, lines(1, 17 * K)),
    upstream: patient,
    status: 431,
  },
  'listeners.maxFields': {
    low: SOON,
    high: { limits: { fieldCount: 300 } },
    request: get(`${URL_}/`, lines(200, 1)),
    status: 431,
  },
  'listeners.maxTarget': {
    low: SOON,
    high: sizes({ maxHead: 32 * K, maxTarget: 16 * K }),
    request: get(`${URL_}/${'p'.repeat(5 * K)}?${'q'.repeat(6 * K)}`),
    status: 414,
  },
  'listeners.headersTimeout': {
    low: { limits: { headMs: 200 } },
    high: SOON,
    request: get(`${URL_}/`).slice(0, -2),
    later: '\r\n',
    status: 408,
  },
  'listeners.writeTimeout': {
    low: { limits: { writeIdleMs: 200 } },
    high: SOON,
    request: post(30_000_000, 30_000_000),
    upstream: () =>
      rawUpstream({
        raw(socket) {
          socket.pause();
          setTimeout(() => socket.resume(), LATE_MS);
          let bytes = 0;
          socket.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > 30_000_000)
              socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
          });
        },
      }),
    status: 504,
  },
  'timeouts.headers': {
    low: { timeouts: { headers: 200 } },
    high: SOON,
    request: get(`${URL_}/`),
    upstream: slow,
    status: 504,
  },
  'timeouts.total': {
    low: { timeouts: { total: 200 } },
    high: SOON,
    request: get(`${URL_}/`),
    upstream: slow,
    status: 504,
  },
  'timeouts.idle': {
    low: { timeouts: { idle: 200 } },
    high: SOON,
    request: post(4, 2),
    later: 'xx',
    status: 408,
  },
  'limits.body': {
    low: { of: { body: 100 } },
    high: { of: { body: 200 } },
    request: post(200, 200),
    status: 413,
  },
  'limits.response': {
    low: { of: { response: 1 } },
    high: { of: { response: 2 } },
    request: get(`${URL_}/`),
    upstream: () =>
      rawUpstream({
        http: (_, response) => void response.setHeader('content-length', '2').end('ok'),
      }),
    status: 502,
  },
};

/** These are shown by tests that need more than one request. */
const SHOWN: Readonly<Record<string, readonly [file: string, title: string]>> = {
  'limits.concurrent': [
    'test/forward/bodies.test.ts',
    'more exchanges than limits.concurrent: 503 with Retry-After; a place is free again ' +
      'afterwards (R2)',
  ],
  'limits.rate': [
    'test/exchange/rate-limits.test.ts',
    'a rate that a reload changes holds at once, and what was taken still counts',
  ],
  'timeouts.connect': [
    'test/upstream/dial.test.ts',
    'an upstream that does not answer the connection, the handshake or the request is 504 ' +
      'in the time of its phase',
  ],
  'listeners.maxConnections': [
    'test/cmd/limits.test.ts',
    'limits of the Sidecar document reach its listeners',
  ],
  'listeners.bodyTimeout': [
    'test/exchange/hints.test.ts',
    'the keys that bound what is read before it is judged',
  ],
  'timeouts.message': [
    'test/exchange/hints.test.ts',
    'the keys that bound what is read before it is judged',
  ],
  'mcp.message': [
    'test/exchange/hints.test.ts',
    'the keys that bound what is read before it is judged',
  ],
};

/** Every key that a hint of lib names. */
function named(): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const file of readdirSync(join(ROOT, 'lib'), { recursive: true }).map(String)) {
    if (!file.endsWith('.ts') || /^(dev|config|identity\/gen)\//.test(file)) continue;
    const text = readFileSync(join(ROOT, 'lib', file), 'utf8').replace(
      /\/\*[^]*?\*\/|^\s*\/\/.*$|^import .*$|^\} from .*$|\$\{[^{}]*\}/gm,
      '',
    );
    for (const [quoted] of text.matchAll(/'[^'\n]*'|`[^`\n]*`/g))
      for (const [key] of quoted.matchAll(
        /\b(?:(?:listeners|timeouts|limits)\.[a-z][a-zA-Z]*|mcp\.message)\b/g,
      ))
        keys.add(key);
    for (const [, time, most] of text.matchAll(/(?:hintFor|timeHint)\('(\w+)'\)|, '(max\w+)'\)/g))
      keys.add(`listeners.${time ?? most}`);
    for (const [, key] of text.matchAll(
      /\['(?:upstream-timeout|timeout|request-timeout)', '[^']*', '(\w+)'\]/g,
    ))
      keys.add(`timeouts.${key}`);
  }
  return keys;
}

t.test('every key that a hint names is shown to help', async (t) => {
  const keys = [...named()];
  t.ok(keys.length > 12, keys.join());
  for (const key of keys)
    t.ok(key in CASES || key in SHOWN, `${key}: a case here, or the test that shows it`);
  for (const [key, [file, title]] of Object.entries(SHOWN))
    t.ok(readFileSync(join(ROOT, file), 'utf8').includes(title), `${key}: ${file}: ${title}`);
});

async function outcome(
  { request, later, upstream: make = rawUpstream }: Case,
  setting: Setting,
): Promise<string> {
  await using upstream = await make();
  const rules = [rule('all', 'allow', { methods: ['GET', 'POST'] })];
  const more: DestinationOptions = {
    mode: 'plaintext',
    rules,
    timeouts: setting.timeouts ?? {},
    limits: setting.of ?? {},
  };
  const to = { host: '127.0.0.1', port: upstream.port };
  await using proxy = await testProxy({
    destinations: [testDestination({ ...more, upstream: to })],
    options: { limits: httpLimits(setting.limits ?? {}) },
  });
  const line = await proxy.open();
  line.write(request);
  if (later !== undefined) setTimeout(() => line.socket.writable && line.write(later), LATE_MS);
  return await line.ended();
}

for (const [key, one] of Object.entries(CASES))
  t.test(`${key} helps where a hint names it`, async (t) => {
    const refused = await outcome(one, one.low);
    t.equal(statusOf(refused), one.status, refused);
    t.match(refused, key);
    t.equal(statusOf(await outcome(one, one.high)), 200, 'with the key raised');
  });

t.test('the keys that bound what is read before it is judged', async (t) => {
  const body = call('get_ticket', { text: 'x'.repeat(3000) });
  const head =
    `POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\nconnection: ` +
    `close\r\ncontent-type: application/json\r\naccept: application/json, ` +
    `text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: ` +
    `${body.length}\r\n\r\n`;
  const ask = async (limits: Partial<HttpLimits>, message: number): Promise<string> => {
    await using p = await testMcpProxy(
      result({ content: [] }),
      { timeouts: { message } },
      { options: { limits: httpLimits(limits) } },
    );
    const line = await p.proxy.open();
    line.write(head + body.slice(0, 100));
    setTimeout(() => line.socket.writable && line.write(body.slice(100)), LATE_MS);
    return await line.ended();
  };
  t.match(await ask({ bodyIdleMs: 200 }, 5000), /408[^]*listeners\.bodyTimeout/);
  t.match(await ask({}, 200), /408[^]*timeouts\.message/);
  t.equal(statusOf(await ask({}, 5000)), 200);
  const sized = async (message: number): Promise<string> => {
    await using p = await testMcpProxy(result({ content: [] }), { settings: { message } });
    return await p.proxy.ask(head + body);
  };
  t.match(await sized(2000), /413[^]*mcp\.message/);
  t.equal(statusOf(await sized(4000)), 200);
});
