/**
 * The server that the official conformance suite asks for (its descriptions of scenarios say what),
 * made with an official SDK. It answers to the name `localhost` alone, as the SDKs do on loopback.
 * Prints its port as JSON.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import * as types from '@modelcontextprotocol/sdk/types.js';

const IMAGE =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
const SOUND = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=';
const text = (value) => ({ type: 'text', text: value });
const image = { type: 'image', data: IMAGE, mimeType: 'image/png' };
const resource = (uri, mimeType, value) => ({
  type: 'resource',
  resource: { uri, mimeType, text: value },
});
const content = (...parts) => ({ content: parts });
const object = (properties = {}) => ({ type: 'object', properties });

/** Every tool: its schema, and what it does. */
const TOOLS = {
  test_simple_text: [object(), () => content(text('This is a simple text response for testing.'))],
  test_image_content: [object(), () => content(image)],
  test_audio_content: [
    object(),
    () => content({ type: 'audio', data: SOUND, mimeType: 'audio/wav' }),
  ],
  test_embedded_resource: [
    object(),
    () =>
      content(
        resource('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
      ),
  ],
  test_multiple_content_types: [
    object(),
    () =>
      content(
        text('Multiple content types test:'),
        image,
        resource(
          'test://mixed-content-resource',
          'application/json',
          '{"test":"data","value":123}',
        ),
      ),
  ],
  test_tool_with_logging: [
    object(),
    async (_, { tell }) => {
      for (const data of [
        'Tool execution started',
        'Tool processing data',
        'Tool execution completed',
      ]) {
        await tell('notifications/message', { level: 'info', data });
        await wait(50);
      }
      return content(text('logged'));
    },
  ],
  test_tool_with_progress: [
    object(),
    async (_, { tell, token }) => {
      for (const progress of [0, 50, 100]) {
        if (token !== undefined)
          await tell('notifications/progress', { progressToken: token, progress, total: 100 });
        await wait(50);
      }
      return content(text('done'));
    },
  ],
  test_error_handling: [
    object(),
    () => ({
      isError: true,
      ...content(text('This tool intentionally returns an error for testing')),
    }),
  ],
  test_sampling: [
    object({ prompt: { type: 'string' } }),
    async ({ prompt }, { ask }) => {
      const params = { messages: [{ role: 'user', content: text(prompt) }], maxTokens: 100 };
      const answer = await ask('sampling/createMessage', params, types.CreateMessageResultSchema);
      return content(text(`LLM response: ${answer.content.text}`));
    },
  ],
  test_elicitation: [
    object({ message: { type: 'string' } }),
    async ({ message }, { ask }) => {
      const requestedSchema = {
        ...object({ username: { type: 'string' }, email: { type: 'string' } }),
        required: ['username', 'email'],
      };
      const answer = await ask(
        'elicitation/create',
        { message, requestedSchema },
        types.ElicitResultSchema,
      );
      return content(text(`User response: ${JSON.stringify(answer)}`));
    },
  ],
  test_elicitation_sep1034_defaults: [
    object(),
    eliciting({
      name: { type: 'string', default: 'John Doe' },
      age: { type: 'integer', default: 30 },
      score: { type: 'number', default: 95.5 },
      status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
      verified: { type: 'boolean', default: true },
    }),
  ],
  test_elicitation_sep1330_enums: [
    object(),
    eliciting({
      untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
      titledSingle: { type: 'string', oneOf: titled('value', 'Option') },
      legacyEnum: {
        type: 'string',
        enum: ['opt1', 'opt2', 'opt3'],
        enumNames: ['Option One', 'Option Two', 'Option Three'],
      },
      untitledMulti: {
        type: 'array',
        items: { type: 'string', enum: ['option1', 'option2', 'option3'] },
      },
      titledMulti: { type: 'array', items: { anyOf: titled('value', 'Choice') } },
    }),
  ],
  json_schema_2020_12_tool: [
    {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: { address: object({ street: { type: 'string' }, city: { type: 'string' } }) },
      properties: { name: { type: 'string' }, address: { $ref: '#/$defs/address' } },
      additionalProperties: false,
    },
    () => content(text('done')),
  ],
  test_reconnection: [
    object(),
    async (_, { close }) => {
      await wait(50);
      close();
      await wait(100);
      return content(text('Reconnection test completed successfully'));
    },
  ],
};

function titled(value, title) {
  return [1, 2, 3].map((i) => ({ const: `${value}${i}`, title: `${title} ${i}` }));
}

function eliciting(properties) {
  return async (_, { ask }) => {
    const params = {
      message: 'Please answer',
      requestedSchema: { ...object(properties), required: [] },
    };
    const { action, content: said } = await ask(
      'elicitation/create',
      params,
      types.ElicitResultSchema,
    );
    return content(
      text(`Elicitation completed: action=${action}, content=${JSON.stringify(said ?? {})}`),
    );
  };
}

const user = (part) => ({ role: 'user', content: part });
const PROMPTS = {
  test_simple_prompt: [[], () => [user(text('This is a simple prompt for testing.'))]],
  test_prompt_with_arguments: [
    ['arg1', 'arg2'],
    ({ arg1, arg2 }) => [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))],
  ],
  test_prompt_with_embedded_resource: [
    ['resourceUri'],
    ({ resourceUri }) => [
      user(resource(resourceUri, 'text/plain', 'Embedded resource content for testing.')),
      user(text('Please process the embedded resource above.')),
    ],
  ],
  test_prompt_with_image: [[], () => [user(image), user(text('Please analyze the image above.'))]],
};

const named = (uri, mimeType) => ({ uri, name: uri, description: uri, mimeType });
const RESOURCES = [
  named('test://static-text', 'text/plain'),
  named('test://static-binary', 'image/png'),
  named('test://watched-resource', 'text/plain'),
];

function read(uri) {
  if (uri === 'test://static-binary') return { uri, mimeType: 'image/png', blob: IMAGE };
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  if (id !== undefined) {
    const value = { id, templateTest: true, data: `Data for ID: ${id}` };
    return { uri, mimeType: 'application/json', text: JSON.stringify(value) };
  }
  return { uri, mimeType: 'text/plain', text: 'This is the content of the static text resource.' };
}

function conversation() {
  const capabilities = {
    tools: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    prompts: { listChanged: true },
    logging: {},
    completions: {},
  };
  const server = new Server({ name: 'everything', version: '1.0.0' }, { capabilities });
  const on = (schema, act) => server.setRequestHandler(schema, act);
  on(types.ListToolsRequestSchema, () => ({
    tools: Object.entries(TOOLS).map(([name, [inputSchema]]) => ({
      name,
      description: name,
      inputSchema,
    })),
  }));
  on(types.CallToolRequestSchema, ({ params }, extra) => {
    const [, act] = TOOLS[params.name] ?? [];
    if (act === undefined) throw new types.McpError(types.ErrorCode.InvalidParams, 'no such tool');
    return act(params.arguments ?? {}, {
      token: params._meta?.progressToken,
      tell: (method, of) => extra.sendNotification({ method, params: of }),
      ask: (method, of, schema) => extra.sendRequest({ method, params: of }, schema),
      close: () => extra.closeSSEStream?.(),
    });
  });
  on(types.ListPromptsRequestSchema, () => ({
    prompts: Object.entries(PROMPTS).map(([name, [names]]) => ({
      name,
      description: name,
      arguments: names.map((one) => ({ name: one, description: one, required: true })),
    })),
  }));
  on(types.GetPromptRequestSchema, ({ params }) => ({
    messages: PROMPTS[params.name][1](params.arguments ?? {}),
  }));
  on(types.ListResourcesRequestSchema, () => ({ resources: RESOURCES }));
  on(types.ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [
      { uriTemplate: 'test://template/{id}/data', name: 'template', description: 'a template' },
    ],
  }));
  on(types.ReadResourceRequestSchema, ({ params }) => ({ contents: [read(params.uri)] }));
  on(types.SubscribeRequestSchema, () => ({}));
  on(types.UnsubscribeRequestSchema, () => ({}));
  on(types.SetLevelRequestSchema, () => ({}));
  on(types.CompleteRequestSchema, () => ({
    completion: { values: ['paris', 'park'], total: 2, hasMore: false },
  }));
  return server;
}

/** Events of streams, so that they can be resumed. */
class Events {
  #all = [];

  async storeEvent(stream, message) {
    this.#all.push([stream, message]);
    return String(this.#all.length);
  }

  async replayEventsAfter(last, { send }) {
    const [stream] = this.#all[Number(last) - 1] ?? [];
    for (let i = Number(last); i < this.#all.length; i += 1) {
      const [of, message] = this.#all[i];
      if (of === stream && Object.keys(message).length > 0) await send(String(i + 1), message);
    }
    return stream;
  }
}

/** Of the pages that may ask, whatever the name is that it is reached by. */
const ORIGINS = process.argv.slice(2);
const transports = new Map();

async function serve(request, response, port) {
  const known = transports.get(request.headers['mcp-session-id']);
  if (known !== undefined) return known.handleRequest(request, response);
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => void transports.set(id, transport),
    eventStore: new Events(),
    retryInterval: 500,
    enableDnsRebindingProtection: true,
    allowedHosts: [`localhost:${port}`, `127.0.0.1:${port}`],
    allowedOrigins: ORIGINS,
  });
  await conversation().connect(transport);
  return transport.handleRequest(request, response);
}

const server = createServer((request, response) => {
  serve(request, response, server.address().port).catch((failure) => response.destroy(failure));
});
server.listen(0, '127.0.0.1', () =>
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`),
);
