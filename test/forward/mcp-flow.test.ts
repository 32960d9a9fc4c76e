/** What belongs to every conversation is in the history, and rules over that history close it. */
import t from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened } from '../../lib/tasks/tasks.ts';
import { unpaired } from '../support/audit.ts';
import { rule, testDestination } from '../support/destination.ts';
import {
  type McpAnswer,
  type McpServer,
  type Script,
  VERSION,
  call,
  mcpDestination,
  mcpRule,
  mcpServer,
  message,
  post,
  rpc,
  sendJson,
} from '../support/mcp.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import type { Rule } from '../support/service.ts';
import { intent, rule as taskRule } from '../tasks/fixture.ts';

const CLASSES = ['public', 'internal', 'confidential', 'restricted'];
const compile = (text: string): Rule['when'] => conditions(CLASSES).compile(text, 'mcp');

const allow = (when?: string): Rule => ({
  ...mcpRule('use', 'allow', { tools: ['*'], prompts: ['*'] }),
  when: when === undefined ? undefined : compile(when),
});
const deny = (when: string): Rule => ({
  ...mcpRule('no-leak', 'deny', { tools: ['*'] }),
  when: compile(when),
});
const READ = "rank(task.read) >= rank('confidential')";

const script: Script = ({ body, http }, response) => {
  if (body?.method === 'initialize') {
    response.setHeader('mcp-session-id', 's1');
    sendJson(response, rpc(body.id, { protocolVersion: VERSION, capabilities: {} }));
  } else if (http === 'GET')
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': \n\n');
  else if (http === 'DELETE' || body?.id === undefined || body.method === undefined)
    response.writeHead(202).end();
  else if (body.method === 'tools/call') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const id of [1, 2])
      response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id, method: 'roots/list' })}\n\n`);
    response.end(`data: ${JSON.stringify(rpc(body.id, { content: [] }))}\n\n`);
  } else sendJson(response, rpc(body.id, { tools: [], prompts: [], resources: [] }));
};

interface Stage extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly server: McpServer;
  readonly task: Opened['task'];
  says(body: string, sending?: Parameters<typeof post>[2]): Promise<McpAnswer>;
  /** Asks the HTTP destination `crm`, of class internal. */
  crm(method: string): Promise<string>;
}

/** An MCP server of class `dataClass`, and a destination `crm` of another. */
async function stage(given: {
  readonly rules: readonly Rule[];
  readonly dataClass: string;
  readonly crmClass?: string;
  readonly crmRules?: readonly Rule[];
  readonly actions?: readonly string[];
}): Promise<Stage> {
  const lists: Script = ({ body }, response) =>
    sendJson(response, rpc(body?.id, { tools: [{ name: 'x' }] }));
  const server = await mcpServer(script, lists);
  const crmServer = await mcpServer((_, response) => response.writeHead(200).end());
  const upstream = { host: '127.0.0.1', port: server.port };
  const settings = { serverRequests: new Set(['roots/list']) };
  const tools = {
    ...mcpDestination({ upstream, rules: given.rules, settings }),
    dataClass: given.dataClass,
  };
  const crm = {
    ...testDestination({
      mode: 'plaintext',
      upstream: { host: '127.0.0.1', port: crmServer.port },
      rules: given.crmRules ?? [rule('all', 'allow')],
    }),
    dataClass: given.crmClass ?? 'confidential',
  };
  const taskPolicies = [
    taskRule({
      destinations: new Set(['tools', 'crm']),
      actions: new Set(['read', 'write']),
      dataClasses: new Set(CLASSES),
      stepUp: [],
    }),
  ];
  const policy = cell(
    buildPolicy({
      generation: 1,
      digest: 'd',
      destinations: [tools, crm],
      unlisted: 'deny',
      taskPolicies,
      dataClasses: CLASSES,
    }),
  );
  const late: { proxy?: TestProxy } = {};
  const registry = tasks({
    clock: systemClock,
    policy,
    tell: () => {},
    onChange: () => late.proxy?.server.reauthorize(),
  });
  const proxy = await testProxy({
    destinations: [tools, crm],
    options: { tasks: registry, policy },
  });
  late.proxy = proxy;
  const { task, secret } = registry.open(
    intent({
      targets: ['tools', 'crm'],
      actions: given.actions ?? ['read', 'write'],
      dataClasses: CLASSES,
      maxCalls: 2,
    }),
  );
  const basic = `Basic ${Buffer.from(`${task.id}:${secret}`).toString('base64')}`;
  return {
    proxy,
    server,
    task,
    says: (body, { fields = {}, ...rest } = {}) =>
      post(proxy, body, { ...rest, fields: { 'proxy-authorization': basic, ...fields } }),
    crm: (method) =>
      proxy.ask(
        `${method} http://crm.internal/x HTTP/1.1\r\nhost: crm.internal\r\nconnection: ` +
          `close\r\nproxy-authorization: ${basic}\r\ncontent-length: 0\r\n\r\n`,
      ),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await crmServer[Symbol.asyncDispose]();
    },
  };
}

const hello = message('initialize', {
  protocolVersion: VERSION,
  capabilities: {},
  clientInfo: { name: 'a', version: '1' },
});
const notification = (method: string, params = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', method, params });
const answer = (id: number, said: object): string =>
  JSON.stringify({ jsonrpc: '2.0', id, ...said });

for (const [what, rules] of [
  ['a deny rule over every tool', [allow(), deny(READ)]],
  ['an allow rule whose condition is false now', [allow(`!(${READ})`)]],
  [
    'an allow rule that reads arguments too',
    [allow(`!(${READ}) && (!has(args.x) || args.x != 1)`)],
  ],
] as const) {
  t.test(
    `${what}, over what was read before, closes the whole conversation but its ends`,
    async (t) => {
      await using at = await stage({ rules, dataClass: 'public' });
      const { server, proxy } = at;
      const fields = { 'mcp-session-id': 's1' };
      t.equal((await at.says(hello)).status, 200);
      t.equal((await at.says(call('x'), { fields })).status, 200);
      t.match(await at.crm('GET'), /^HTTP\/1\.1 200/);
      const before = server.asked.length;
      const closed: readonly (readonly [string, string, object?])[] = [
        ['initialize', hello],
        ['a list', message('tools/list')],
        ['discovery of resources', message('resources/templates/list')],
        ['a prompt', message('prompts/get', { name: 'p' })],
        ['initialized', notification('notifications/initialized')],
        ['roots changed', notification('notifications/roots/list_changed')],
        ['a stream', '', { method: 'GET', fields: { ...fields, 'content-type': '' } }],
        ['an answer with a result', answer(1, { result: { roots: [] } })],
      ];
      for (const [name, body, sending = { fields }] of closed) {
        const told = await at.says(body, sending);
        t.match(told.body.error, { code: -31403 }, `${name}: ${told.text}`);
      }
      t.equal(server.asked.length, before, 'the server heard nothing');
      t.equal(
        (await at.says(answer(2, { error: { code: -1, message: 'no' } }), { fields })).status,
        202,
      );
      t.equal(
        (await at.says(notification('notifications/cancelled', { requestId: 1 }), { fields }))
          .status,
        202,
      );
      t.equal((await at.says(message('ping'), { fields })).body.error, undefined);
      const end = { method: 'DELETE', fields: { ...fields, 'content-type': '' } };
      t.equal((await at.says('', end)).status, 202);
      t.equal(server.asked.length, before + 4);
      await proxy.quiet();
      t.same(unpaired(proxy.audit.records), []);
    },
  );
}

t.test(
  'a list that was read is read: it stands in the history of its class, and takes no use',
  async (t) => {
    const crmRules = [
      rule('all', 'allow', { methods: ['GET', 'POST'] }),
      {
        ...rule('no-leak', 'deny', { methods: ['POST'] }),
        when: conditions(CLASSES).compile(READ, 'request'),
      },
    ];
    await using at = await stage({
      rules: [allow()],
      dataClass: 'confidential',
      crmClass: 'public',
      crmRules,
    });
    t.match(await at.crm('POST'), /^HTTP\/1\.1 200/);
    for (const body of [message('resources/list'), hello, message('ping'), message('tools/list')])
      t.equal((await at.says(body)).body.error, undefined);
    t.match(await at.crm('POST'), /^HTTP\/1\.1 403/);
    t.equal(at.task.uses, 1, 'the first POST');
    for (const record of at.proxy.audit.of('decided').slice(1, 5))
      t.match(record, { action: 'read', effect: 'allow' });
  },
);

t.test(
  'a conversation needs no action of the grant but its data class, and goes on when all uses are made',
  async (t) => {
    await using at = await stage({ rules: [allow()], dataClass: 'public', actions: ['write'] });
    t.equal((await at.says(message('tools/list'))).body.error, undefined);
    t.match((await at.says(call('x'))).body.error, { message: /its actions leave out read/ });
    await using spent = await stage({ rules: [allow()], dataClass: 'public' });
    for (const id of [1, 2]) t.equal((await spent.says(call('x', {}, id))).status, 200);
    t.match((await spent.says(call('x'))).body.error, { message: /has made the 2 calls/ });
    t.equal((await spent.says(message('tools/list'))).body.error, undefined);
  },
);

t.test(
  'an answer has the action of the call in which the server asked, and a digest',
  async (t) => {
    await using at = await stage({ rules: [allow()], dataClass: 'public', actions: ['read'] });
    const fields = { 'mcp-session-id': 's1' };
    await at.says(hello);
    await at.says(call('x'), { fields });
    t.equal((await at.says(answer(1, { result: { roots: [] } }), { fields })).status, 202);
    t.match(at.proxy.audit.of('decided').at(-1), {
      action: 'read',
      mcpMethod: 'response',
      argsDigest: /^[0-9a-f]{64}$/,
    });
    t.equal(at.task.uses, 1);
  },
);
