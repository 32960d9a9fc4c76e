/**
 * What a server asks within a call that needed an approval: the call was approved, and what is
 * answered in it was shown to nobody.
 */
import t from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { StepUpPolicy } from '../../lib/policy/model/grant.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Tasks } from '../../lib/tasks/tasks.ts';
import type { TestConnection } from '../support/agent.ts';
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
import { STEP_UP, intent, rule as taskRule } from '../tasks/fixture.ts';

const ASKED = {
  jsonrpc: '2.0',
  id: 7,
  method: 'elicitation/create',
  params: { message: 'how much?', requestedSchema: {} },
};
const answered = (result: object): string => JSON.stringify({ jsonrpc: '2.0', id: 7, result });

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly tasks: Tasks;
  readonly server: McpServer;
  says(body: string): Promise<McpAnswer>;
  /** Calls the tool, and settles when what the server asks has come. */
  runs(): Promise<TestConnection>;
  /** Approves the call of the refusal. */
  approve(told: McpAnswer): Promise<void>;
  /** The answers that the server was given. */
  given(): readonly string[];
}

/** A tool `pay` that asks how much, and ends when it has been answered. */
function eliciting(): Script {
  const open: (() => void)[] = [];
  return ({ body, text }, response) => {
    if (body?.method === 'initialize') {
      response.setHeader('mcp-session-id', 's1');
      sendJson(response, rpc(body.id, { protocolVersion: VERSION, capabilities: {} }));
    } else if (body?.method === 'tools/call') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: ${JSON.stringify(ASKED)}\n\n`);
      open.push(() => response.end(`data: ${JSON.stringify(rpc(body.id, { content: [] }))}\n\n`));
    } else {
      response.writeHead(202).end();
      if (text.includes('"id":7')) for (const end of open.splice(0)) end();
    }
  };
}

async function room(given: Partial<StepUpPolicy>): Promise<Room> {
  const server = await mcpServer(eliciting(), ({ body }, response) =>
    sendJson(response, rpc(body?.id, { tools: [{ name: 'pay' }] })),
  );
  const rules = [{ ...mcpRule('pay', 'allow', { tools: ['pay'] }), action: 'write' }];
  const settings = { serverRequests: new Set(['elicitation/create']) };
  const destinations = [
    mcpDestination({
      upstream: { host: '127.0.0.1', port: server.port },
      rules,
      settings,
      task: 'required',
    }),
  ];
  const stepUp = [{ ...STEP_UP, bound: true, maxCalls: 9, ...given }];
  const taskPolicies = [
    taskRule({ destinations: new Set(['tools']), actions: new Set(['read']), stepUp }),
  ];
  const policy = cell(
    buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies }),
  );
  const registry = tasks({ clock: systemClock, policy, tell: () => {}, onChange: () => {} });
  const proxy = await testProxy({
    identity: 'none',
    destinations,
    options: { tasks: registry, policy },
  });
  const { task, secret } = registry.open(
    intent({ targets: ['tools'], actions: ['read', 'write'] }),
  );
  const fields = {
    'proxy-authorization': `Basic ${Buffer.from(`${task.id}:${secret}`).toString('base64')}`,
  };
  const hello = {
    protocolVersion: VERSION,
    capabilities: { elicitation: {} },
    clientInfo: { name: 'a', version: '1' },
  };
  await post(proxy, message('initialize', hello), { fields });
  return {
    proxy,
    tasks: registry,
    server,
    says: (body) => post(proxy, body, { fields: { ...fields, 'mcp-session-id': 's1' } }),
    async runs() {
      const line = await proxy.open();
      const body = call('pay');
      const more = Object.entries({ ...fields, 'mcp-session-id': 's1' }).map(
        (pair) => `${pair.join(': ')}\r\n`,
      );
      line.write(
        'POST http://tools.internal/mcp HTTP/1.1\r\nHost: tools.internal\r\nContent-Type: ' +
          'application/json\r\n' +
          `Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: ` +
          `${VERSION}\r\n${more.join('')}` +
          `Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      await line.sees('how much?');
      return line;
    },
    async approve({ body }) {
      const decision = String(body.error?.data?.['decision']);
      const { id } = await registry.stepUps.ask(task, { decision });
      await registry.stepUps.approve(id, { by: 'olga', as: 'operator' });
    },
    given: () => server.asked.map(({ text }) => text).filter((text) => text.includes('"id":7')),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

t.test(
  'what is answered within a call whose approval is bound was shown to nobody, and is refused; a no is not',
  async (t) => {
    for (const given of [{}, { bound: false, maxCalls: 3 }]) {
      await using r = await room(given);
      await r.approve(await r.says(call('pay')));
      const running = await r.runs();
      const yes = await r.says(answered({ action: 'accept', content: { amount: 1_000_000 } }));
      t.match(yes.body.error, {
        message: /was not there to be shown with that call.*decline what a server asks/,
      });
      const more = await r.says(answered({ action: 'decline', content: { amount: 1_000_000 } }));
      t.match(more.body.error, { message: /not there to be shown/ }, 'a no that says more');
      t.same(r.given(), [], 'not one byte of it');
      t.match(r.proxy.audit.of('decided').at(-1), {
        effect: 'deny',
        code: 'not-approvable',
        rule: 'pay',
        action: 'write',
      });
      t.equal((await r.says(answered({ action: 'decline' }))).status, 202);
      t.match(await running.ended(), /"content":\[\]/);
      t.same(
        r.given().map((text) => JSON.parse(text) as unknown),
        [JSON.parse(answered({ action: 'decline' }))],
      );
    }
  },
);

t.test(
  'an approval of whatever the rule allows is also of what is answered in its calls',
  async (t) => {
    await using r = await room({ bound: false, maxCalls: Infinity });
    await r.approve(await r.says(call('pay')));
    const running = await r.runs();
    t.equal((await r.says(answered({ action: 'accept', content: { amount: 5 } }))).status, 202);
    t.match(await running.ended(), /"content":\[\]/);
    t.equal(r.given().length, 1);
  },
);
