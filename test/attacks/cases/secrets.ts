/**
 * A secret in every place of a message: the runner finds it in no record and in no refusal. What
 * carries it is an everyday mistake (a password in a URL, a token behind `#` or `;`), and the
 * refusal of it is what gets logged.
 */
import { mcpRule } from '../../support/mcp.ts';
import { SETTINGS } from '../../support/service.ts';
import { passed, refused, type Attack, type Attempt, type World } from '../case.ts';
import { CANARY } from '../entries/http1.ts';

const C = CANARY;
const paths = (...all: string[]): Attempt[] => all.map((path) => ({ path }));
const fields = (...lines: string[]): Attempt[] => lines.map((line) => ({ fields: [line] }));

const SERVER: World = Object.freeze<World>({
  destination: {
    protocol: 'mcp',
    mcp: SETTINGS,
    rules: [
      mcpRule('docs', 'allow', { resources: ['doc://open/**'] }),
      mcpRule('ticket', 'allow', { tools: ['get_ticket'] }),
    ],
  },
});

function post(message: unknown, more: readonly string[] = []): Attempt {
  const body = typeof message === 'string' ? message : JSON.stringify(message);
  const own = [`Content-Length: ${body.length}`, 'Content-Type: application/json'];
  return {
    method: 'POST',
    path: '/mcp',
    body,
    fields: [...own, 'MCP-Protocol-Version: 2025-11-25', ...more],
  };
}

const ask = (method: string, params: unknown, id: unknown = 1): unknown => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
});
const read = (uri: string): Attempt => post(ask('resources/read', { uri }));

const DONE = JSON.stringify({ jsonrpc: '2.0', id: 1, result: { contents: [] } });

const URIS = [
  `https://user:${C}@files.example/a`,
  `https://${C}@files.example/a`,
  `https://files.example/a?key=${C}`,
  `https://files.example/a#${C}`,
  `https://files.example/a;token=${C}/b`,
  `https://files.example/a%3Btoken=${C}`,
  `data:text/plain,${C}`,
  `mailto:${C}@example.com`,
];

export const SECRETS: readonly Attack[] = Object.freeze([
  {
    row: 'C6',
    title: 'user information in the authority',
    facet: 'authority',
    attempts: [
      ...[
        `user:${C}@crm.internal`,
        `${C}@crm.internal`,
        `${C}:@crm.internal`,
        `user:${C}@crm.internal:80`,
      ].map((authority) => ({ authority })),
      { authority: `crm.internal:${C}` },
      { authority: `crm.internal:80${C}` },
      { authority: `[${C}]` },
      { authority: `${C}..internal` },
      { authority: `crm_${C}!.internal` },
    ],
    expect: refused('malformed'),
  },
  {
    row: 'C6',
    title: 'fragments, parameters and what no path has',
    facet: 'path',
    attempts: paths(
      `/v1/a#access_token=${C}`,
      `/v1/a?b#${C}`,
      `/v1/a;jsessionid=${C}`,
      `/v1/${C}%zz`,
      `/v1/${C}%2f`,
      `/v1/${C}%5c`,
      `/v1/${C}%ff`,
      `/v1/${C}"`,
      `/v1/${C}/../../..`,
      `/v1/a?${C}=%00`,
      `/v1/a?x=${C}\xe9`,
    ),
    expect: refused('malformed'),
  },
  {
    row: 'C6',
    title: 'paths that have another spelling',
    facet: 'path',
    attempts: paths(`/${C}/../x`, `/${C}/%2e%2e/x`, `//a/${C}/..`),
    expect: refused('ambiguous'),
  },
  {
    row: 'C6',
    title: 'targets that are too long',
    facet: 'path',
    attempts: paths(`/${C}${'a'.repeat(5000)}`, `/a?${C}${'a'.repeat(8300)}`),
    expect: refused('target-too-long'),
  },
  {
    row: 'C6',
    title: 'queries, and parameters that are escaped',
    facet: 'path',
    attempts: paths(
      `/v1/a?access_token=${C}`,
      `/v1/a?${C}`,
      `/v1/a%3Bjsessionid=${C}`,
      `/v1/a%3b${C}/b`,
    ),
    expect: passed(),
  },
  {
    row: 'C6',
    title: 'field values and names of fields',
    facet: 'fields',
    attempts: fields(
      `Authorization: Bearer ${C}`,
      `Cookie: session=${C}`,
      `X-Api-Key: ${C}`,
      `Referer: https://user:${C}@a.example/?k=${C}`,
      `X-${C}: 1`,
      `X-Forwarded-Uri: /?k=${C}`,
    ),
    expect: passed(),
  },
  {
    row: 'C6',
    title: 'fields that are refused',
    facet: 'fields',
    attempts: [
      { fields: [`X-Api-Key: ${C}`, `X-Api-Key: ${C}2`] },
      { fields: [`X-Original-URL: /?k=${C}`] },
      { fields: [`Authorization: Bearer ${C}`, `authorization: Basic ${C}`] },
    ],
    expect: refused('ambiguous'),
    at: { connect: passed() },
  },
  {
    row: 'C6',
    title: 'tokens of Connection',
    facet: 'fields',
    attempts: fields(`Connection: content-${C}`, `Connection: x-task-${C}, close`),
    expect: refused('malformed'),
    at: { connect: passed() },
  },
  {
    row: 'C6',
    title: 'credentials that open nothing',
    facet: 'fields',
    attempts: fields(
      `Proxy-Authorization: Bearer ${C}`,
      `Proxy-Authorization: Basic ${Buffer.from(`t:${C}`).toString('base64')}`,
      `Proxy-Authorization: ${C}`,
    ),
    expect: refused('task-unknown'),
  },
  {
    row: 'C6',
    title: 'resources of MCP that no rule allows',
    facet: 'message',
    world: SERVER,
    attempts: URIS.map(read),
    expect: refused('denied', { status: 200 }),
  },
  {
    row: 'C6',
    title: 'a resource that a rule allows',
    facet: 'message',
    world: SERVER,
    attempts: [`doc://open/a?key=${C}`, `doc://open/a#${C}`, `doc://open/a;v=${C}`].map((uri) => ({
      ...read(uri),
      answer:
        `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ` +
        `${DONE.length}\r\n\r\n${DONE}`,
    })),
    expect: passed(),
  },
  {
    row: 'C6',
    title: 'arguments and what else a message carries',
    facet: 'message',
    world: SERVER,
    attempts: [
      post(ask('tools/call', { name: 'pay', arguments: { [C]: C } })),
      post(ask('tools/call', { name: 'pay', arguments: { a: [C] }, _meta: { 'x.y/z': C } })),
      post(ask('prompts/get', { name: 'p', arguments: { a: C } })),
      post(
        ask('completion/complete', {
          ref: { type: 'ref/prompt', name: 'p' },
          argument: { name: C, value: C },
        }),
      ),
      post(ask('resources/subscribe', { uri: `https://u:${C}@x.example/` })),
    ],
    expect: refused('denied', { status: 200 }),
  },
  {
    row: 'C6',
    title: 'messages that cannot be read',
    facet: 'message',
    world: SERVER,
    attempts: [
      post(`{"jsonrpc":"2.0","id":1,"method":"ping","${C}":1,"${C}":2}`),
      post(`{"jsonrpc":"2.0","${C}`),
      post(`${C}`),
      post(`{"a":"${C}\\u0000`),
    ],
    expect: refused('bad-json'),
  },
  {
    row: 'C6',
    title: 'messages that are none',
    facet: 'message',
    world: SERVER,
    attempts: [
      post({ jsonrpc: '2.0', id: { [C]: 1 }, method: 'ping' }),
      post({ jsonrpc: C, id: 1, method: 'ping' }),
      post(ask('resources/read', { uri: `no uri ${C}` })),
      post(ask('resources/read', { uri: `doc://open/%2e%2e/${C}` })),
      post(ask('tools/call', { name: `${C} /` })),
    ],
    expect: refused('bad-message'),
  },
]);
