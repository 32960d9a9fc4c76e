/** Messages that belong to a task: what it is shown, what it may call, whose sessions are whose. */
import t from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened } from '../../lib/tasks/tasks.ts';
import { unpaired } from '../support/audit.ts';
import {
  type McpAnswer,
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
import { intent, rule as taskRule } from '../tasks/fixture.ts';

const RULES = [
  mcpRule('read', 'allow', { tools: ['look', 'wipe'] }),
  mcpRule('write', 'allow', { tools: ['change'] }, 'write'),
];
const TOOLS = [
  { name: 'look' },
  { name: 'change' },
  { name: 'wipe', annotations: { destructiveHint: true } },
];

t.test(
  'a task is shown and may call what it was granted; its sessions are its own (M13)',
  async (t) => {
    let sessions = 0;
    await using server = await mcpServer(({ body }, response) => {
      if (body?.method === 'initialize') {
        sessions += 1;
        response.setHeader('mcp-session-id', `s${sessions}`);
        sendJson(response, rpc(body.id, { protocolVersion: VERSION, capabilities: {} }));
      } else if (body?.method === 'tools/list') sendJson(response, rpc(body.id, { tools: TOOLS }));
      else sendJson(response, rpc(body?.id, { content: [] }));
    });
    const destination = mcpDestination({
      task: 'required',
      upstream: { host: '127.0.0.1', port: server.port },
      rules: RULES,
    });
    const taskPolicies = [
      taskRule({
        destinations: new Set(['tools']),
        actions: new Set(['read', 'write']),
        stepUp: [],
      }),
    ];
    const policy = cell(
      buildPolicy({
        generation: 1,
        digest: 'd',
        destinations: [destination],
        unlisted: 'deny',
        taskPolicies,
      }),
    );
    const late: { proxy?: TestProxy } = {};
    await using registry = tasks({
      clock: systemClock,
      policy,
      tell: () => {},
      onChange: () => late.proxy?.server.reauthorize(),
      release: async (task) => {
        await late.proxy?.server.release(task);
        return [];
      },
    });
    await using proxy = await testProxy({
      destinations: [destination],
      options: { tasks: registry, policy },
    });
    late.proxy = proxy;
    const open = (actions: readonly string[]): Opened =>
      registry.open(intent({ targets: ['tools'], actions }));
    const as = (
      opened: Opened | undefined,
      body: string,
      fields: Record<string, string> = {},
    ): Promise<McpAnswer> => {
      const text =
        opened === undefined
          ? ''
          : Buffer.from(`${opened.task.id}:${opened.secret}`).toString('base64');
      const authorization: Record<string, string> =
        text === '' ? {} : { 'proxy-authorization': `Basic ${text}` };
      return post(proxy, body, { fields: { ...authorization, ...fields } });
    };
    const namesFor = async (opened: Opened): Promise<unknown> => {
      const { result = {} } = (await as(opened, message('tools/list'))).body;
      return (result['tools'] as { name: string }[]).map(({ name }) => name);
    };

    t.match((await as(undefined, call('look'))).body.error, {
      code: -31403,
      message: /belong to a task/,
    });
    const reader = open(['read']);
    const writer = open(['read', 'write']);
    t.same(await namesFor(reader), ['look'], 'wipe is a write, by its own words');
    t.same(await namesFor(writer), ['look', 'change', 'wipe']);
    t.equal((await as(reader, call('look'))).body.error, undefined);
    t.match((await as(reader, call('change'))).body.error, {
      code: -31403,
      message: /its actions leave out write/,
    });
    t.match((await as(reader, call('wipe'))).body.error, {
      code: -31403,
      message: /its actions leave out write/,
    });
    t.equal((await as(writer, call('change'))).body.error, undefined);

    const hello = message('initialize', { protocolVersion: VERSION, capabilities: {} });
    const told = await as(reader, hello, { 'mcp-protocol-version': '' });
    const own = { 'mcp-session-id': /mcp-session-id: (\S+)/.exec(told.head)?.[1] ?? '' };
    t.equal((await as(reader, call('look'), own)).status, 200);
    t.equal((await as(writer, call('look'), own)).status, 404, 'another task');
    const before = server.asked.length;
    registry.end(reader.task, 'completed', 'done');
    t.equal((await as(reader, call('look'), own)).status, 407, 'a task that has ended');
    t.equal(server.asked.length, before);
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);
