import fc from 'fast-check';
import t from 'tap';
import { asJson, errorText, idKey, readMessage, readServerMessage } from '../../lib/mcp/message.ts';
import { isObject } from '../../lib/schema/json.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { writeJson } from '../../lib/schema/json-writer.ts';

const read = (value: unknown): ReturnType<typeof readMessage> =>
  readMessage(parseJson(Buffer.from(JSON.stringify(value))));
const kind = (value: unknown): string => {
  try {
    return read(value).kind;
  } catch (failure) {
    return failure instanceof Error ? failure.message : '';
  }
};

t.test('requests, notifications and responses', async (t) => {
  t.equal(kind({ jsonrpc: '2.0', id: 1, method: 'ping' }), 'request');
  t.equal(kind({ jsonrpc: '2.0', id: 'a', method: 'ping', params: {} }), 'request');
  t.equal(kind({ jsonrpc: '2.0', method: 'notifications/initialized' }), 'notification');
  t.equal(kind({ jsonrpc: '2.0', id: 1, result: {} }), 'response');
  t.equal(kind({ jsonrpc: '2.0', id: 1, error: { code: 1, message: 'm' } }), 'response');
  t.equal(kind({ jsonrpc: '2.0', id: null, error: { code: 1, message: 'm' } }), 'response');
  t.equal(kind({ jsonrpc: '2.0', error: { code: 1, message: 'm' } }), 'response');
});

t.test('everything else is refused (M1, M2, M3, M11)', async (t) => {
  for (const value of [
    [],
    [{ jsonrpc: '2.0', id: 1, method: 'ping' }],
    'ping',
    null,
    7,
    {},
    { jsonrpc: '2.0' },
    { jsonrpc: 2, id: 1, method: 'ping' },
    { jsonrpc: '1.0', id: 1, method: 'ping' },
    { jsonrpc: '2.0', id: 1, method: 'ping', extra: 1 },
    { jsonrpc: '2.0', id: 1, method: 'ping', Params: {} },
    { jsonrpc: '2.0', id: 1, method: 'ping', result: {} },
    { jsonrpc: '2.0', id: 1, method: 7 },
    { jsonrpc: '2.0', id: 1, method: '' },
    { jsonrpc: '2.0', id: 1, method: 'ping', params: null },
    { jsonrpc: '2.0', id: 1, method: 'ping', params: [] },
    { jsonrpc: '2.0', id: {}, method: 'ping' },
    { jsonrpc: '2.0', id: true, method: 'ping' },
    { jsonrpc: '2.0', id: 1.5, method: 'ping' },
    { jsonrpc: '2.0', id: 'x'.repeat(257), method: 'ping' },
    { jsonrpc: '2.0', id: 1, result: {}, error: { code: 1, message: 'm' } },
    { jsonrpc: '2.0', id: 1, result: [] },
    { jsonrpc: '2.0', result: {} },
    { jsonrpc: '2.0', id: 1, error: {} },
    { jsonrpc: '2.0', id: 1, error: { code: 'x', message: 'm' } },
    { jsonrpc: '2.0', id: 1, result: {}, params: {} },
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { NAME: 'x' } },
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { 'argument\u017f': {} } },
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { _META: {} } },
  ])
    t.notMatch(kind(value), /^(request|notification|response)$/, JSON.stringify(value));
});

t.test('a message that was read is written as the same message', async () => {
  const value = fc
    .jsonValue({ maxDepth: 3 })
    .map((json) => ({ x: JSON.parse(JSON.stringify(json)) as unknown }));
  const any = fc.oneof(
    fc.record({
      id: fc.oneof(fc.integer(), fc.string({ maxLength: 9 })),
      method: fc.constantFrom('ping', 'tools/call'),
      params: value,
    }),
    fc.record({ method: fc.constantFrom('notifications/x'), params: value }),
    fc.record({ id: fc.integer(), result: value }),
  );
  fc.assert(
    fc.property(any, (members) => {
      const text = JSON.stringify({ jsonrpc: '2.0', ...members });
      try {
        return writeJson(asJson(readMessage(parseJson(Buffer.from(text))))) === text;
      } catch (failure) {
        return failure instanceof Error && 'code' in failure && failure.code === 'bad-json';
      }
    }),
  );
});

t.test('ids: the number 1 is not the text "1", and 1 is 1', async (t) => {
  const id = (text: string): string => {
    const message = readMessage(
      parseJson(Buffer.from(`{"jsonrpc":"2.0","method":"ping","id":${text}}`)),
    );
    return message.kind === 'request' ? idKey(message.id) : '';
  };
  t.not(id('1'), id('"1"'));
  t.equal(id('"a"'), id('"\\u0061"'));
  t.not(id('9007199254740993'), id('9007199254740992'));
});

t.test('the text of an error is JSON whatever it says', async (t) => {
  const text = errorText('a"b', {
    code: -1,
    message: 'x\u2028"y',
    data: { reason: 'r', hint: undefined },
  });
  const value = parseJson(Buffer.from(text));
  t.same(JSON.parse(text), {
    jsonrpc: '2.0',
    id: 'a"b',
    error: { code: -1, message: 'x\u2028"y', data: { reason: 'r' } },
  });
  t.ok(isObject(value));
});

t.test('data of a server may have any spelling, but not where something is decided', async (t) => {
  const told = (text: string): string => {
    try {
      return readServerMessage(parseJson(Buffer.from(text), { data: true })).kind;
    } catch (failure) {
      return failure instanceof Error ? failure.message : '';
    }
  };
  t.equal(
    told('{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"id":1,"ID":2}}}'),
    'response',
  );
  t.equal(
    told(
      '{"jsonrpc":"2.0","method":"notifications/message","params":{"Name":1,"data":{"a":1,"A":2}}}',
    ),
    'notification',
  );
  for (const text of [
    '{"jsonrpc":"2.0","id":1,"result":{"tools":[],"Tools":[]}}',
    '{"jsonrpc":"2.0","id":1,"result":{"Tools":[]}}',
    '{"jsonrpc":"2.0","id":1,"result":{"ResultType":"input_required"}}',
    '{"jsonrpc":"2.0","id":1,"result":{"x":1,"X":2}}',
    '{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}',
    '{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"URL":"https://evil.example"}}',
    '{"jsonrpc":"2.0","id":1,"result":{"a":{"b":1,"b":2}}}',
  ])
    t.notMatch(told(text), /^(request|notification|response)$/, text);
});
