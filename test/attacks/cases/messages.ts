/**
 * Messages to an MCP server: what cannot be read in one way only, what no rule allows, and what a
 * server may not say.
 */
import { conditions } from '../../../lib/policy/conditions/compile.ts';
import { rule } from '../../support/destination.ts';
import { mcpRule } from '../../support/mcp.ts';
import { SETTINGS } from '../../support/service.ts';
import { type Attack, type Attempt, type World, passed, refused } from '../case.ts';

const MUCH = 'has(args.amount) && args.amount > 100.0';

const SERVER = Object.freeze<World>({
  destination: {
    protocol: 'mcp',
    mcp: SETTINGS,
    rules: [mcpRule('read', 'allow', { tools: ['get_ticket'] })],
  },
});

const PAYING = Object.freeze<World>({
  destination: {
    protocol: 'mcp',
    mcp: SETTINGS,
    rules: [
      { ...mcpRule('much', 'deny', { tools: ['pay'] }), when: conditions([]).compile(MUCH, 'mcp') },
      mcpRule('pay', 'allow', { tools: ['pay'] }),
    ],
  },
});

/** A POST of this body, as bytes in latin1. */
function post(body: string, fields: readonly string[] = [], type = 'application/json'): Attempt {
  const bytes = Buffer.from(body, 'utf8').toString('latin1');
  const all = [`Content-Length: ${bytes.length}`, 'MCP-Protocol-Version: 2025-11-25', ...fields];
  return {
    method: 'POST',
    path: '/mcp',
    body: bytes,
    fields: type === '' ? all : [`Content-Type: ${type}`, ...all],
  };
}

/** The same as a page would get it. */
function page(body: string): Attempt {
  return { method: 'POST', body, fields: [`Content-Length: ${body.length}`, 'Accept: */*'] };
}

const message = (method: string, params: unknown): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
const call = (name: string, args: unknown = {}): string =>
  message('tools/call', { name, arguments: args });

/** In latin1, as answers are written. */
const BOM = '\u00ef\u00bb\u00bf';
const answerWith = (type: string, text: string, fields = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${fields}Content-Length: ` +
  `${text.length}\r\n\r\n${text}`;
const result = (value: unknown): string => JSON.stringify({ jsonrpc: '2.0', id: 1, result: value });
const TOOLS = { tools: [{ name: 'get_ticket' }, { name: 'delete_ticket' }] };

const attack = (
  row: string,
  title: string,
  attempts: readonly Attempt[],
  expect: Attack['expect'],
): Attack => ({
  row,
  title,
  attempts,
  expect,
  world: SERVER,
});

const DENIED = refused('denied', { status: 200 });

/** Where a rule about HTTP allows every path. */
const beside = (title: string, attempts: readonly Attempt[]): Attack => ({
  row: 'M16',
  title,
  attempts,
  expect: refused('denied'),
  world: {
    destination: { ...SERVER.destination, rules: [rule('pages', 'allow', { mcpLike: false })] },
  },
});

export const MESSAGES: readonly Attack[] = Object.freeze([
  attack(
    'M1',
    'a name twice',
    [
      post(
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_ticket","name":"delete_ticket"}}',
      ),
      post(
        '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete_ticket"}}',
      ),
      post(
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_ticket","arguments":{"a":1,"\\u0061":2}}}',
      ),
    ],
    refused('bad-json'),
  ),
  {
    row: 'M9',
    title: 'another spelling of what a condition reads is not sent',
    attempts: [
      ' amount',
      'amount ',
      'Amount',
      '\uff41mount',
      'amount[]',
      '_amount',
      'am\u200bount',
      'AMOUNT\t',
      'amount\ufe0f',
      '\u3164amount',
      'am\u034fount',
      'am\u180bount',
      '\u115famount',
    ].map((name) => post(call('pay', { [name]: 101 }))),
    expect: refused('ambiguous', { reason: /"amount", which a condition of destination/ }),
    world: PAYING,
  },
  attack(
    'M2',
    'two names that differ in letter case',
    [
      post('{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}'),
      post(
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_ticket","Name":"delete_ticket"}}',
      ),
      post('{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"param\u017f":{"name":"x"}}'),
    ],
    refused('bad-json'),
  ),
  attack(
    'M2',
    'a name in another letter case, alone',
    [
      post('{"jsonrpc":"2.0","id":1,"METHOD":"tools/call"}'),
      post(message('tools/call', { name: 'get_ticket', Arguments: { all: true } })),
      post(message('tools/call', { name: 'get_ticket', 'argument\u017f': {} })),
    ],
    refused('bad-message'),
  ),
  attack(
    'M3',
    'batches',
    [
      post(`[${call('get_ticket')}]`),
      post(`[${call('get_ticket')},${call('delete_ticket')}]`),
      post('[]'),
    ],
    refused('bad-message'),
  ),
  attack(
    'M4',
    'other media types',
    [
      post(call('get_ticket'), [], 'text/plain'),
      post(call('get_ticket'), [], ''),
      post(call('get_ticket'), [], 'application/json; charset=utf-16'),
      post(call('get_ticket'), [], 'application/json;x=y'),
      post(call('get_ticket'), [], 'application/json, text/plain'),
    ],
    refused('unsupported-media'),
  ),
  attack('M4', 'a byte order mark', [post(`\ufeff${call('get_ticket')}`)], refused('bad-json')),
  attack(
    'M5',
    'encoded bodies',
    [
      post(call('get_ticket'), ['Content-Encoding: gzip']),
      post(call('get_ticket'), ['Content-Encoding: identity', 'Content-Encoding: br']),
    ],
    refused('unsupported-media'),
  ),
  attack(
    'M5',
    'an answer that is encoded though nobody asked for it',
    [
      {
        ...post(call('get_ticket')),
        answer: answerWith('application/json', 'xxxx', 'Content-Encoding: gzip\r\n'),
      },
    ],
    refused('upstream-malformed', { upstream: 'asked' }),
  ),
  attack(
    'M6',
    'what no JSON is, or too much of it',
    [
      post(`{"jsonrpc":"2.0","id":1,"method":"ping","params":${'['.repeat(70)}${']'.repeat(70)}}`),
      post('{"jsonrpc":"2.0","id":1,"method":"\\ud800"}'),
      post('{"jsonrpc":"2.0","id":NaN,"method":"ping"}'),
      post('{"jsonrpc":"2.0","id":1e999,"method":"ping"}'),
      post(`{"jsonrpc":"2.0","id":${'1'.repeat(200)},"method":"ping"}`),
      post(`${call('get_ticket')} ${call('delete_ticket')}`),
      post(''),
    ],
    refused('bad-json'),
  ),
  attack(
    'M6',
    'a message that is too long',
    [post(call('get_ticket', { x: 'y'.repeat(SETTINGS.message) }))],
    refused('body-too-large', { when: 'read' }),
  ),
  attack(
    'M7',
    'fields against the body',
    [
      post(call('get_ticket'), ['Mcp-Method: ping']),
      post(call('get_ticket'), ['Mcp-Name: list_tickets']),
      post(call('get_ticket'), ['Mcp-Name: get_ticket', 'Mcp-Name: delete_ticket']),
      post(call('get_ticket'), ['Mcp-Name: =?base64?ZGVsZXRl?=']),
      post(
        message('tools/call', {
          name: 'get_ticket',
          _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' },
        }),
      ),
    ],
    refused('header-mismatch'),
  ),
  attack(
    'M7',
    'a version that is not spoken',
    [post(call('get_ticket')).fields?.filter((line) => !line.startsWith('MCP')) ?? []].map(
      (fields) => ({
        ...post(call('get_ticket')),
        fields: [...fields, 'MCP-Protocol-Version: 2024-11-05'],
      }),
    ),
    refused('unsupported-version'),
  ),
  attack(
    'M8',
    'names beyond the alphabet',
    [
      post(call('get_tick\u0435t')),
      post(call('get_ticket\u200b')),
      post(call('get_ticket ')),
      post(call('')),
    ],
    refused('bad-message'),
  ),
  attack('M8', 'another letter case', [post(call('Get_ticket')), post(call('GET_TICKET'))], DENIED),
  attack(
    'M10',
    'methods that no rule allows',
    [
      post(call('delete_ticket')),
      post(message('tasks/list', {})),
      post(message('tools/Call', { name: 'get_ticket' })),
      post(message('sampling/createMessage', {})),
      post(message('resources/read', { uri: 'file:///etc/passwd' })),
      post(message('logging/setLevel', { level: 'debug' })),
    ],
    DENIED,
  ),
  attack(
    'M10',
    'answers and notifications that nobody waits for',
    [
      post('{"jsonrpc":"2.0","id":9,"result":{}}'),
      post('{"jsonrpc":"2.0","method":"tools/call","params":{"name":"get_ticket"}}'),
      post('{"jsonrpc":"2.0","method":"notifications/unknown"}'),
    ],
    refused('denied'),
  ),
  attack(
    'M10',
    'what is no message to the endpoint',
    [
      { ...post(call('get_ticket')), path: '/admin' },
      { ...post(call('get_ticket')), path: '/mcp?x=1' },
      { ...post(call('get_ticket')), path: '/mcp/' },
      { path: '/mcp/%61dmin' },
      { ...post(call('get_ticket')), method: 'PUT' },
    ],
    refused('denied'),
  ),
  attack(
    'M11',
    'calls that are none',
    [
      post(message('tools/call', ['get_ticket'])),
      post(message('tools/call', {})),
      post(message('tools/call', { name: ['get_ticket'] })),
      post(message('tools/call', { name: 'get_ticket', arguments: 'x' })),
      post(message('tools/call', { name: 'get_ticket', arguments: null })),
      post('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}'),
    ],
    refused('bad-message'),
  ),
  attack(
    'M12',
    'a stream whose pieces and line ends hide what is denied',
    ['\n', '\r\n', '\r'].map((end) => ({
      ...post(message('tools/list', {})),
      answer: answerWith(
        'text/event-stream',
        `${BOM}id: 1${end}data: ${result(TOOLS).slice(0, 16)}${end}data: ` +
          `${result(TOOLS).slice(16)}${end}${end}`,
      ),
    })),
    passed({ unanswered: [/delete_ticket/] }),
  ),
  attack(
    'M12',
    'a list in JSON',
    [{ ...post(message('tools/list', {})), answer: answerWith('application/json', result(TOOLS)) }],
    passed({ unanswered: [/delete_ticket/] }),
  ),
  attack(
    'M13',
    'a session that was not opened here',
    [
      post(call('get_ticket'), ['Mcp-Session-Id: 0123456789']),
      { method: 'GET', path: '/mcp', fields: ['Last-Event-ID: 7'] },
      { method: 'DELETE', path: '/mcp' },
    ],
    refused('session-unknown'),
  ),
  beside(
    'another spelling of the endpoint, and what lies below it',
    [
      '/MCP',
      '/mcp/',
      '/mcp/x',
      '/m%63p/',
      '/mcp%3Bx=1',
      '/mcp%3bx/y',
      '/mcp%253Bx',
      '/%6dcp%2e',
      '/x/..%253b/mcp',
      '/mcp%20',
      '/mcp?x=1',
      '/%EF%BD%8Dcp',
      '/mcp%3Fx',
      '/mcp%23',
    ].flatMap((path) => [
      { ...post(call('delete_ticket')), path },
      { ...page(call('delete_ticket')), path },
    ]),
  ),
  beside('what looks like a message', [
    { ...post(call('delete_ticket')), path: '/other' },
    ...[
      'Mcp-Session-Id: 1',
      'mcp_method: tools/call',
      'MCP-Name: x',
      'Accept: application/json, text/Event-Stream',
    ].map((field) => ({ method: 'POST', path: '/other', fields: ['Content-Length: 0', field] })),
    {
      method: 'PUT',
      path: '/other',
      fields: ['Content-Length: 0', 'Accept: text/event-stream;q=0.5'],
    },
    { method: 'DELETE', path: '/other', fields: ['Mcp-Session-Id: 1'] },
  ]),
]);
