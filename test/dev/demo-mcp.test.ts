import t from 'tap';
import { demoMcp } from '../../lib/dev/demo-mcp.ts';
import type { Peer } from '../../lib/tls/peer.ts';

const peer = {} as Peer;

t.test('enough of the protocol for any client to call tools', async (t) => {
  const server = demoMcp();
  const send = (
    body: unknown,
    method = 'POST',
    target = '/mcp',
  ): { status: number; asked?: string; body: Record<string, unknown> } => {
    const answer = server({
      method,
      target,
      peer,
      body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    });
    return {
      ...answer,
      body:
        answer.type === 'application/json'
          ? (JSON.parse(answer.body) as Record<string, unknown>)
          : {},
    };
  };
  const rpc = (method: string, params: unknown = {}): unknown => ({
    jsonrpc: '2.0',
    id: 1,
    method,
    params,
  });
  const tool = (name: string, args: unknown): unknown =>
    send(rpc('tools/call', { name, arguments: args })).body['result'] ??
    send(rpc('tools/call', { name })).body;
  t.match(send(rpc('initialize', { protocolVersion: '2025-06-18' })).body, {
    result: { protocolVersion: '2025-06-18' },
  });
  t.match(send(rpc('initialize', { protocolVersion: '2030-01-01' })).body, {
    result: { protocolVersion: '2025-11-25' },
  });
  t.equal(send({ jsonrpc: '2.0', method: 'notifications/initialized' }).status, 202);
  t.match(send(rpc('tools/list')).body, {
    result: {
      tools: [
        { name: 'search_tickets' },
        {},
        { name: 'refund', inputSchema: { required: ['id', 'amount'] } },
        {},
      ],
    },
  });
  t.match(tool('refund', { id: 'T-1', amount: 5 }), {
    content: [{ text: '5 refunded for T-1, 5 in all' }],
  });
  t.match(tool('get_ticket', { id: 'T-1' }), { content: [{ text: /"refunded":5/ }] });
  t.match(tool('refund', { id: 'T-1', amount: '5' }), { isError: true });
  t.match(tool('delete_ticket', { id: 'T-1' }), { content: [{ text: 'deleted' }] });
  t.match(tool('get_ticket', { id: 'T-1' }), { isError: true });
  t.match(tool('search_tickets', { query: 'twice' }), { content: [{ text: /T-2/ }] });
  t.match(tool('toString', {}), { error: { code: -32602 } });
  t.match(
    send(
      rpc('server/discover', {
        _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' },
      }),
    ).body,
    {
      result: { resultType: 'complete', supportedVersions: ['2026-07-28'] },
    },
  );
  t.match(send(rpc('nothing')).body, { error: { code: -32601 } });
  t.equal(send('{').status, 400);
  t.equal(send('', 'GET').status, 405);
  t.equal(send(rpc('ping'), 'POST', '/').status, 404);
  t.equal(send(rpc('tools/call', { name: 'refund' })).asked, 'tools/call refund');
});
