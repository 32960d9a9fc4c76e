/**
 * An MCP server made with an official SDK: `node server.mjs sdk-of-2025 | @modelcontextprotocol/sdk
 * | @modelcontextprotocol/server`. Prints its port, then each tool that it ran, a JSON value a
 * line.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const [name] = process.argv.slice(2);
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const text = (value) => ({ content: [{ type: 'text', text: value }] });
const info = { name: 'tickets', version: '1.0.0' };
const QUESTION = {
  messages: [{ role: 'user', content: { type: 'text', text: 'which?' } }],
  maxTokens: 10,
};

const { z } = await import(name === 'sdk-of-2025' ? 'zod-of-2025' : 'zod');
const modern = name === '@modelcontextprotocol/server';

/** `ask` asks the client for something, in the way of its SDK. */
function register(server, { notify, ask, shape }) {
  const run = (tool, act) => (args, extra) => {
    print({ ran: tool, args });
    return act(args, extra);
  };
  const tools = {
    get_ticket: [{ id: z.string() }, ({ id }) => text(`ticket ${id}`)],
    refund: [{ id: z.string(), amount: z.number() }, ({ amount }) => text(`refunded ${amount}`)],
    delete_ticket: [{ id: z.string() }, () => text('deleted')],
    count: [
      { to: z.number() },
      async ({ to }, extra) => {
        for (let i = 1; i <= to; i += 1) await notify(extra, i);
        return text(`counted to ${to}`);
      },
    ],
    ask: [{}, async (_, extra) => ask(extra)],
  };
  for (const [tool, [inputSchema, act]] of Object.entries(tools))
    server.registerTool(
      tool,
      { description: tool, inputSchema: shape(inputSchema) },
      run(tool, act),
    );
  return server;
}

async function ofSessions() {
  const { McpServer } = await import(`${name}/server/mcp.js`);
  const { StreamableHTTPServerTransport } = await import(`${name}/server/streamableHttp.js`);
  const ways = {
    shape: (shape) => shape,
    notify: (extra, data) =>
      extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data } }),
    async ask(extra) {
      try {
        const request = { method: 'sampling/createMessage', params: QUESTION };
        const { content } = await extra.sendRequest(request, z.any(), { timeout: 1000 });
        return text(`sampled ${content.text}`);
      } catch (failure) {
        return text(`not sampled: ${failure.code}`);
      }
    },
  };
  const transports = new Map();
  return async (request, response) => {
    let transport = transports.get(request.headers['mcp-session-id']);
    if (transport === undefined) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (id) => void transports.set(id, transport),
      });
      await register(new McpServer(info, { capabilities: { logging: {} } }), ways).connect(
        transport,
      );
    }
    await transport.handleRequest(request, response);
  };
}

async function ofThisYear() {
  const { McpServer, createMcpHandler, inputRequired, inputResponse } = await import(name);
  const ways = {
    shape: (shape) => z.object(shape),
    notify: (extra, data) => extra.mcpReq.log('info', data),
    ask: (extra) => {
      const answer = inputResponse(extra.mcpReq.inputResponses, 'which');
      if (answer?.kind === 'sampling') return text(`sampled ${answer.result.content.text}`);
      return inputRequired({ inputRequests: { which: inputRequired.createMessage(QUESTION) } });
    },
  };
  const handler = createMcpHandler(() =>
    register(new McpServer(info, { capabilities: { logging: {} } }), ways),
  );
  return async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const init = { method: request.method, headers: request.headers };
    if (chunks.length > 0) init.body = Buffer.concat(chunks);
    const answer = await handler.fetch(
      new Request(`http://${request.headers.host}${request.url}`, init),
    );
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    for await (const chunk of answer.body ?? []) response.write(chunk);
    response.end();
  };
}

const handle = await (modern ? ofThisYear() : ofSessions());
const server = createServer((request, response) => {
  handle(request, response).catch((failure) => {
    process.stderr.write(`${failure.stack}\n`);
    response.destroy();
  });
});
server.listen(0, '127.0.0.1', () => print({ port: server.address().port }));
