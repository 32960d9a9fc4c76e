/**
 * The official MCP SDKs on both sides of the sidecar: TypeScript of 2025-06-18, 2025-11-25 and
 * 2026-07-28 and Python, every client with every server. What is allowed works as it does without a
 * sidecar, streams and requests by the server included; what is not is an error that the client
 * hands on, and never ran.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { proxyVariables } from '../../cmd/environment.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import type { McpPolicy } from '../../lib/policy/protocols/mcp-service.ts';
import type { Rule } from '../support/service.ts';
import { mcpRule, mcpDestination } from '../support/mcp.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import t from 'tap';

const run = promisify(execFile);
const HERE = join(import.meta.dirname, 'mcp');
const script = (name: string): string => join(HERE, name);

type Command = readonly [string, ...string[]];

const SERVERS: Readonly<Record<string, Command>> = {
  'TypeScript 1.17': [process.execPath, script('server.mjs'), 'sdk-of-2025'],
  'TypeScript 1.32': [process.execPath, script('server.mjs'), '@modelcontextprotocol/sdk'],
  'TypeScript 2.4': [process.execPath, script('server.mjs'), '@modelcontextprotocol/server'],
  Python: ['python3', script('server.py')],
};

const CLIENTS: Readonly<Record<string, (url: string) => Command>> = {
  'TypeScript 1.17': (url) => [process.execPath, script('client.mjs'), 'sdk-of-2025', url],
  'TypeScript 1.32': (url) => [
    process.execPath,
    script('client.mjs'),
    '@modelcontextprotocol/sdk',
    url,
  ],
  'TypeScript 2.4': (url) => [
    process.execPath,
    script('client.mjs'),
    '@modelcontextprotocol/client',
    url,
  ],
  Python: (url) => ['python3', script('client.py'), url, 'auto'],
  'Python, with a handshake': (url) => ['python3', script('client.py'), url, 'legacy'],
};

interface Seen {
  readonly version: string;
  readonly tools: readonly string[];
  readonly logged: readonly number[];
  readonly answers: Readonly<Record<string, unknown>>;
}

function missing(command: Command): string | false {
  if (!command[0].startsWith('python'))
    return existsSync(script('node_modules')) ? false : 'npm ci in test/interop/mcp';
  try {
    execFileSync('python3', ['-c', 'import mcp; mcp.Client'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'the Python package mcp is not on this machine';
  }
}

interface Running extends AsyncDisposable {
  readonly port: number;
  /** Tools that it ran. */
  readonly ran: readonly string[];
}

async function start([program, ...args]: Command): Promise<Running> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const ran: string[] = [];
  let port = 0;
  createInterface(child.stdout).on('line', (line) => {
    // Python's server logs to the same place.
    if (!line.startsWith('{')) return;
    const said = JSON.parse(line) as { readonly port?: number; readonly ran?: string };
    port = said.port ?? port;
    if (said.ran !== undefined) ran.push(said.ran);
  });
  await until('the server prints its port', () => (port > 0 ? true : undefined), 30_000);
  await until(
    'the server listens',
    () =>
      fetch(`http://127.0.0.1:${port}/`).then(
        () => true,
        () => undefined,
      ),
    30_000,
  );
  return {
    port,
    ran,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

const small: Rule = {
  ...mcpRule('small-refunds', 'allow', { tools: ['refund'] }, 'write'),
  when: conditions([]).compile('args.amount <= 100.0', 'mcp'),
};
const RULES = [mcpRule('use', 'allow', { tools: ['get_ticket', 'count', 'ask'] }), small];

async function converse(
  server: Running,
  command: (url: string) => Command,
  settings: Partial<McpPolicy>,
): Promise<Seen> {
  const upstream = { host: '127.0.0.1', port: server.port };
  await using proxy = await testProxy({
    destinations: [mcpDestination({ upstream, rules: RULES, settings })],
    options: { clock: systemClock },
  });
  const [program, ...args] = command('http://tools.internal/mcp');
  const env = { ...process.env, ...proxyVariables(`http://127.0.0.1:${proxy.port()}`) };
  const { stdout } = await run(program, args, { env, timeout: 60_000 });
  await proxy.quiet();
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Seen;
}

for (const [serverName, serverCommand] of Object.entries(SERVERS)) {
  t.test(`server: ${serverName}`, { skip: missing(serverCommand), timeout: 300_000 }, async (t) => {
    await using server = await start(serverCommand);
    for (const [clientName, command] of Object.entries(CLIENTS)) {
      const skip = missing(command(''));
      await t.test(`client: ${clientName}`, { skip, timeout: 120_000 }, async (t) => {
        const before = server.ran.length;
        const seen = await converse(server, command, {
          serverRequests: new Set(['sampling/createMessage']),
        });
        t.match(seen.version, /^20\d\d-\d\d-\d\d$/);
        t.comment(`version ${seen.version}`);
        t.same(seen.tools, ['get_ticket', 'refund', 'count', 'ask'], 'delete_ticket is not listed');
        t.same(seen.logged, [1, 2, 3], 'notifications come through a stream');
        const { answers } = seen;
        t.equal(answers['read'], 'ticket T-1');
        t.equal(answers['small'], 'refunded 40');
        t.match(answers['large'], {
          code: -31403,
          message: /no rule of destination tools allows tools\/call refund/,
        });
        t.match(answers['other'], {
          code: -31403,
          message: /no rule of destination tools allows tools\/call delete_ticket/,
        });
        t.equal(answers['count'], 'counted to 3');
        if (canAsk(serverName, seen.version))
          t.equal(answers['ask'], 'sampled this one', 'the server asked, and was answered');
        t.same(
          server.ran.slice(before).filter((tool) => tool !== 'ask'),
          ['get_ticket', 'refund', 'count'],
          'what was denied never ran',
        );
      });
      if (!clientName.startsWith('TypeScript')) continue;
      await t.test(
        `client: ${clientName}, and the server may ask for nothing`,
        { skip, timeout: 120_000 },
        async (t) => {
          const { answers } = await converse(server, command, {});
          t.equal(answers['read'], 'ticket T-1');
          t.notMatch(JSON.stringify(answers['ask']), /sampled this one/);
          t.comment(JSON.stringify(answers['ask']));
        },
      );
    }
  });
}

/** TypeScript 2.4 serves earlier versions without sessions, in which a server cannot ask. */
function canAsk(server: string, version: string): boolean {
  return server !== 'TypeScript 2.4' || version === '2026-07-28';
}
