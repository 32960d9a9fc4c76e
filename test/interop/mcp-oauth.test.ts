/**
 * OAuth of MCP with an official client: the server's metadata, the registration and the token lie
 * beside its endpoint, and rules about HTTP let them through.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { proxyVariables } from '../../cmd/environment.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { unpaired } from '../support/audit.ts';
import { rule } from '../support/destination.ts';
import { mcpDestination, mcpRule } from '../support/mcp.ts';
import { testProxy } from '../support/proxy.ts';
import { rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const run = promisify(execFile);
const HERE = join(import.meta.dirname, 'mcp');
const ORIGIN = 'http://tools.internal';
const METADATA = '/.well-known/oauth-protected-resource/mcp';

const PAGES: Readonly<Record<string, unknown>> = {
  [`GET ${METADATA}`]: { resource: `${ORIGIN}/mcp`, authorization_servers: [ORIGIN] },
  'GET /.well-known/oauth-authorization-server': {
    issuer: ORIGIN,
    authorization_endpoint: `${ORIGIN}/authorize`,
    token_endpoint: `${ORIGIN}/token`,
    registration_endpoint: `${ORIGIN}/register`,
    response_types_supported: ['code'],
    code_challenge_methods_supported: ['S256'],
  },
  'POST /register': { client_id: 'c', redirect_uris: ['http://localhost:1/callback'] },
  'POST /token': { access_token: 'the-token', token_type: 'Bearer' },
};

function send(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

const skip = existsSync(join(HERE, 'node_modules')) ? false : 'npm ci in test/interop/mcp';
t.test(
  'a client finds where to authorise itself, registers, and comes back with a token',
  { skip },
  async (t) => {
    await using server = await rawUpstream({
      async http(request, response) {
        const body = Buffer.concat(await request.toArray()).toString();
        const page = PAGES[`${request.method} ${request.url}`];
        if (page !== undefined)
          return send(response, page, request.url === '/register' ? 201 : 200);
        if (request.url !== '/mcp') return void response.writeHead(404).end();
        if (request.headers.authorization !== 'Bearer the-token') {
          response.setHeader('www-authenticate', `Bearer resource_metadata="${ORIGIN}${METADATA}"`);
          return void response.writeHead(401).end();
        }
        if (request.method !== 'POST') return void response.writeHead(405).end();
        const { id, method } = JSON.parse(body) as {
          readonly id?: number;
          readonly method: string;
        };
        if (id === undefined) return void response.writeHead(202).end();
        const capabilities = { tools: {} };
        const hello = {
          protocolVersion: '2025-11-25',
          capabilities,
          serverInfo: { name: 's', version: '1' },
        };
        const tools = [{ name: 'get_ticket', inputSchema: { type: 'object' } }];
        return send(response, {
          jsonrpc: '2.0',
          id,
          result: method === 'initialize' ? hello : { tools },
        });
      },
    });
    const rules = [
      mcpRule('read', 'allow', { tools: ['get_ticket'] }),
      rule('discovery', 'allow', { methods: ['GET'], paths: ['/.well-known/**'], mcpLike: false }),
      rule('tokens', 'allow', {
        methods: ['POST'],
        paths: ['/register', '/token'],
        mcpLike: false,
      }),
    ];
    await using proxy = await testProxy({
      destinations: [mcpDestination({ upstream: { host: '127.0.0.1', port: server.port }, rules })],
      options: { clock: systemClock },
    });
    const env = { ...process.env, ...proxyVariables(`http://127.0.0.1:${proxy.port()}`) };
    const { stdout } = await run(
      process.execPath,
      [join(HERE, 'oauth-client.mjs'), `${ORIGIN}/mcp`],
      {
        env,
        timeout: 60_000,
      },
    );
    const seen = JSON.parse(stdout) as {
      readonly refused: string;
      readonly to: string;
      readonly tools: unknown;
    };
    t.equal(seen.refused, 'UnauthorizedError');
    t.match(seen.to, /^http:\/\/tools\.internal\/authorize\?/);
    t.same(seen.tools, ['get_ticket']);
    await proxy.quiet();
    t.notMatch(JSON.stringify(proxy.audit.records), /the-token/);
    t.same(unpaired(proxy.audit.records), []);
  },
);
