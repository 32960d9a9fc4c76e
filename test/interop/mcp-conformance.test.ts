/**
 * The official conformance suite of MCP against a server behind the sidecar: by the forward proxy,
 * by a local listener, and inside a TLS that is intercepted. The server answers to the name
 * `localhost` alone and the sidecar is asked for another one; but for the two checks of DNS
 * rebinding, which the suite makes of local names alone.
 */
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { proxyVariables } from '../../cmd/environment.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { openInterception } from '../../lib/interception/authority.ts';
import { unpaired } from '../support/audit.ts';
import { shortFolder } from '../support/folder.ts';
import { type McpDestinationOptions, mcpDestination, mcpRule } from '../support/mcp.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import t from 'tap';

const HERE = join(import.meta.dirname, 'mcp');
const SUITE = join(HERE, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');
const ALL = mcpRule('all', 'allow', {
  tools: ['*'],
  prompts: ['*'],
  resources: ['test://**'],
  methods: ['logging/setLevel'],
});

async function everything(
  origins: readonly string[],
): Promise<AsyncDisposable & { readonly port: number }> {
  const child = spawn(process.execPath, [join(HERE, 'everything.mjs'), ...origins], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let port = 0;
  createInterface(child.stdout).on(
    'line',
    (line) => (port = (JSON.parse(line) as { readonly port: number }).port),
  );
  await until('the server prints its port', () => port > 0 || undefined, 30_000);
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** What the suite prints at its end. */
async function conformance(
  url: string,
  env: Readonly<Record<string, string>>,
  scenario: readonly string[] = [],
): Promise<string> {
  const child = spawn(process.execPath, [SUITE, 'server', '--url', url, ...scenario], {
    env: { ...process.env, ...env },
    cwd: shortFolderOf(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await new Promise((resolve) => child.once('close', resolve));
  return said;
}

let folder = '';
const shortFolderOf = (): string => folder;

interface Way {
  readonly name: string;
  readonly destination: McpDestinationOptions;
  readonly url: (proxy: TestProxy) => string;
  /** For what the suite asks of local names alone; undefined: the URL is one. */
  readonly local?: string;
  readonly env: (proxy: TestProxy, ca: string) => Readonly<Record<string, string>>;
}

const proxied = (proxy: TestProxy): Record<string, string> => ({
  ...proxyVariables(`http://127.0.0.1:${proxy.port()}`),
  NO_PROXY: '',
  no_proxy: '',
});
const WAYS: readonly Way[] = [
  {
    name: 'forward proxy',
    destination: { hosts: ['tools.internal', 'localhost'] },
    url: () => 'http://tools.internal/mcp',
    local: 'http://localhost/mcp',
    env: proxied,
  },
  {
    name: 'local listener',
    destination: { listen: true },
    url: (proxy) => `http://127.0.0.1:${proxy.port('tools')}/mcp`,
    env: () => ({}),
  },
  {
    name: 'interception',
    destination: { hosts: ['tools.example.com', 'localhost'], ports: [443], intercept: true },
    url: () => 'https://tools.example.com/mcp',
    local: 'https://localhost/mcp',
    env: (proxy, ca) => ({ ...proxied(proxy), NODE_EXTRA_CA_CERTS: ca }),
  },
];

for (const { name, destination: options, url, local, env } of WAYS) {
  const skip = existsSync(SUITE) ? false : 'npm ci in test/interop/mcp';
  t.test(`all checks of the suite, by ${name}`, { skip, timeout: 300_000 }, async (t) => {
    folder = shortFolder(t);
    const interception = await openInterception({
      domains: ['example.com', 'localhost'],
      folder: undefined,
      clock: systemClock,
      refusals: 'inside',
    });
    t.teardown(() => interception[Symbol.dispose]());
    const ca = join(folder, 'ca.pem');
    writeFileSync(ca, interception.authority().toString());
    const origins = ['http://localhost'];
    // A listener is asked by its own address, which is not known before the server is.
    const own = options.listen === true ? ['http://127.0.0.1:24817'] : [];
    await using server = await everything([...origins, ...own]);
    const destination = mcpDestination({
      upstream: { host: '127.0.0.1', port: server.port },
      sentHost: `localhost:${server.port}`,
      rules: [ALL],
      settings: {
        serverRequests: new Set(['sampling/createMessage', 'elicitation/create', 'roots/list']),
      },
      ...options,
      ...(options.listen === true ? { listen: 24_817 } : {}),
    });
    await using proxy = await testProxy({
      destinations: [destination],
      options: { clock: systemClock, interception },
    });
    const said = await conformance(url(proxy), env(proxy, ca));
    const summary = said.slice(said.indexOf('=== SUMMARY'));
    if (local === undefined) t.match(summary, /^Total: 40 passed, 0 failed$/m);
    else {
      t.match(summary, /^Total: 38 passed, 2 failed$/m, summary);
      t.match(summary, /dns-rebinding-protection: 0 passed, 2 failed/);
      const rebinding = await conformance(local, env(proxy, ca), [
        '--scenario',
        'dns-rebinding-protection',
      ]);
      if (options.intercept !== true) t.match(rebinding, /Passed: 2\/2, 0 failed/, rebinding);
      else {
        // The client takes the SNI from the Host that it forges: what the check wants refused with
        // 4xx is cut before.
        t.match(
          rebinding,
          /LocalhostHostAccepted|localhost-host-valid-accepted.*SUCCESS/,
          rebinding,
        );
        t.match(rebinding, /Passed: 1\/2, 1 failed/);
        t.match(JSON.stringify(proxy.audit.records), /evil\.example\.com/);
      }
    }
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  });
}
