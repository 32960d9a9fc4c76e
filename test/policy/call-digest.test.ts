/**
 * What an approval is bound to: a call with any other parameter has another digest,
 * and what is not read has none.
 */
import t from 'tap';
import type { McpFacts } from '../../lib/policy/model/facts.ts';
import { contentDigest, parameterDigest } from '../../lib/policy/decision/call-digest.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { readPost } from '../../lib/mcp/request.ts';
import { SETTINGS } from '../support/service.ts';
import { request } from './destination.ts';

function digest(asked: Parameters<typeof request>[0]): string | undefined {
  return parameterDigest(request({ empty: true, ...asked }));
}

const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const FIELDS = ['content-type', 'application/json', 'mcp-protocol-version', '2025-11-25'];

function message(text: string): McpFacts {
  return readPost(FIELDS, parseJson(Buffer.from(text)), {
    policy: {
      ...SETTINGS,
      serverRequests: new Set(['roots/list']),
      meta: new Set(['com.bank/override']),
    },
    session: undefined,
    wasGiven: () => true,
  }).facts;
}

function call(method: string, params: object): string | undefined {
  const mcp = message(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }));
  return parameterDigest({ ...request({ empty: true }), mcp });
}

t.test('a request without content is its host, method, path and query', async (t) => {
  const one = digest({ path: '/v1/a', query: '?x=1' });
  t.match(one, /^sha-256:[A-Za-z0-9_-]{43}$/);
  t.equal(digest({ path: '/v1/a', query: '?x=1' }), one);
  for (const other of [
    { path: '/v1/b', query: '?x=1' },
    { path: '/v1/a', query: '?x=2' },
    { path: '/v1/a', query: '' },
    { path: '/v1/a', query: '?x=1', method: 'DELETE' },
  ])
    t.not(digest(other), one, JSON.stringify(other));
});

t.test(
  'content that was read is part of it, and so are the fields that say what is done',
  async (t) => {
    const content = (text: string): { bytes: Buffer; digest: string } => {
      const bytes = Buffer.from(text);
      return { bytes, digest: contentDigest(bytes) };
    };
    const fields = [
      'x-account',
      'acme',
      'content-type',
      'text/plain',
      'user-agent',
      'one',
      'x-request-id',
      '1',
    ];
    const one = digest({ empty: false, content: content('a'), fields });
    t.match(one, /^sha-256:/);
    t.equal(
      digest({
        empty: false,
        content: content('a'),
        fields: [...fields.slice(2, 4), 'x-account', 'acme'],
      }),
      one,
    );
    for (const other of [
      { content: content('b') },
      { content: content('') },
      { fields: ['x-account', 'evil', 'content-type', 'text/plain'] },
      { fields: ['content-type', 'text/plain'] },
      { fields: [...fields, 'x-http-method-override', 'DELETE'] },
      { fields: [...fields, 'x-account', 'acme'] },
    ])
      t.not(
        digest({ empty: false, content: content('a'), fields, ...other }),
        one,
        JSON.stringify(other),
      );
  },
);

t.test('what is not read whole has no digest', async (t) => {
  t.equal(digest({ empty: false }), undefined, 'content');
  t.equal(digest({ empty: false, content: 'long' }), undefined, 'content that is too long');
  t.equal(digest({ websocket: true }), undefined, 'a WebSocket');
  t.equal(parameterDigest({ ...request({ empty: true }), http: undefined }), undefined, 'a tunnel');
  const grpc = { service: 'a.B', method: 'C' };
  t.equal(parameterDigest({ ...request({ empty: false }), grpc }), undefined, 'a gRPC call');
  t.equal(
    parameterDigest({ ...request({ content: 'streams' }), grpc }),
    undefined,
    'one that streams',
  );
  const answer = message('{"jsonrpc":"2.0","id":1,"result":{"x":1}}');
  t.equal(
    parameterDigest({ ...request({ empty: true }), mcp: answer }),
    undefined,
    'an answer to the server',
  );
});

t.test(
  'a message of MCP is its method and all of its parameters, in whatever order they are written',
  async (t) => {
    const one = call('tools/call', { name: 'refund', arguments: { a: 1, b: 'x' } });
    t.match(one, /^sha-256:/);
    t.equal(call('tools/call', { arguments: { b: 'x', a: 1 }, name: 'refund' }), one);
    t.equal(
      call('tools/call', {
        name: 'refund',
        arguments: { a: 1, b: 'x' },
        _meta: { progressToken: 7 },
      }),
      one,
    );
    t.equal(
      call('tools/call', {
        name: 'refund',
        arguments: { a: 1, b: 'x' },
        _meta: { traceparent: TRACE },
      }),
      one,
    );
    const unlisted = { 'com.bank/unlisted': { to: 'mallory' } };
    t.equal(
      call('tools/call', { name: 'refund', arguments: { a: 1, b: 'x' }, _meta: unlisted }),
      one,
      'is not sent',
    );
    for (const params of [
      {
        name: 'refund',
        arguments: { a: 1, b: 'x' },
        _meta: { 'com.bank/override': { to: 'mallory' } },
      },
      { name: 'refund', arguments: { a: 2, b: 'x' } },
      { name: 'refund', arguments: { a: 1 } },
      { name: 'refunds', arguments: { a: 1, b: 'x' } },
      { name: 'refund', arguments: { a: 1, b: 'x' }, inputResponses: { confirm: true } },
      { name: 'refund', arguments: { a: 1, b: 'x' }, requestState: 's' },
    ])
      t.not(call('tools/call', params), one, JSON.stringify(params));
    t.not(
      call('logging/setLevel', { level: 'debug' }),
      call('logging/setLevel', { level: 'error' }),
    );
    const complete = (value: string): string | undefined =>
      call('completion/complete', {
        ref: { type: 'ref/prompt', name: 'p' },
        argument: { name: 'n', value },
      });
    t.not(complete('a'), complete('b'));
  },
);
