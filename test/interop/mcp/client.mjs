/**
 * A client made with an official SDK that knows nothing but a URL and HTTP_PROXY: `node client.mjs
 * PACKAGE URL`. Prints what it saw as one JSON value, in the shape that client.py prints too.
 */
const [name, url] = process.argv.slice(2);
const legacy = name !== '@modelcontextprotocol/client';
const { Client } = await import(legacy ? `${name}/client/index.js` : name);
const { StreamableHTTPClientTransport } = await import(
  legacy ? `${name}/client/streamableHttp.js` : name
);

const client = new Client(
  { name: 'agent', version: '1.0.0' },
  { capabilities: { sampling: {}, roots: {} }, versionNegotiation: { mode: 'auto' } },
);
const sampled = async () => ({
  model: 'm',
  role: 'assistant',
  content: { type: 'text', text: 'this one' },
});
if (legacy) {
  const { CreateMessageRequestSchema, LoggingMessageNotificationSchema } = await import(
    `${name}/types.js`
  );
  client.setRequestHandler(CreateMessageRequestSchema, sampled);
  client.setNotificationHandler(
    LoggingMessageNotificationSchema,
    ({ params }) => void seen.logged.push(params.data),
  );
} else {
  client.setRequestHandler('sampling/createMessage', sampled);
  client.setNotificationHandler(
    'notifications/message',
    ({ params }) => void seen.logged.push(params.data),
  );
}

const seen = { version: undefined, tools: [], logged: [], answers: {} };
const transport = new StreamableHTTPClientTransport(new URL(url));
await client.connect(transport);
seen.version = legacy ? transport.protocolVersion : client.getNegotiatedProtocolVersion();
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);

async function call(label, tool, args) {
  try {
    const options = legacy ? undefined : { _meta: { 'io.modelcontextprotocol/logLevel': 'info' } };
    const { content, isError } = await client.callTool({ name: tool, arguments: args, ...options });
    seen.answers[label] = isError ? { failed: content[0].text } : content[0].text;
  } catch (failure) {
    seen.answers[label] = { code: failure.code, message: failure.message };
  }
}

await call('read', 'get_ticket', { id: 'T-1' });
await call('small', 'refund', { id: 'T-1', amount: 40 });
await call('large', 'refund', { id: 'T-1', amount: 4000 });
await call('other', 'delete_ticket', { id: 'T-1' });
await call('count', 'count', { to: 3 });
await call('ask', 'ask', {});
if (legacy) await transport.terminateSession();
await client.close();
process.stdout.write(`${JSON.stringify(seen)}\n`);
