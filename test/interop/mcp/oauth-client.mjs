/**
 * An official MCP client that authorises itself (RFC 9728, RFC 8414, RFC 7591): `node
 * oauth-client.mjs URL`. Prints what it was told, as JSON.
 */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url] = process.argv.slice(2);
const held = {};
const provider = {
  redirectUrl: 'http://localhost:1/callback',
  clientMetadata: { client_name: 'agent', redirect_uris: ['http://localhost:1/callback'] },
  clientInformation: () => held.client,
  saveClientInformation: (client) => void (held.client = client),
  tokens: () => held.tokens,
  saveTokens: (tokens) => void (held.tokens = tokens),
  redirectToAuthorization: (to) => void (held.to = String(to)),
  saveCodeVerifier: (verifier) => void (held.verifier = verifier),
  codeVerifier: () => held.verifier,
};
const connect = async () => {
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
  const client = new Client({ name: 'agent', version: '1.0.0' });
  await client.connect(transport);
  return client;
};
let refused = '';
await connect().catch((failure) => (refused = failure.constructor.name));
// What the browser of the user would bring back.
const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
await transport.finishAuth('code');
const client = await connect();
const { tools } = await client.listTools();
process.stdout.write(
  `${JSON.stringify({ refused, to: held.to, tools: tools.map(({ name }) => name) })}\n`,
);
process.exit(0);
