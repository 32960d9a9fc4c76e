/**
 * The same job done with http-proxy, to see what the package costs: no policy, no records.
 * Arguments: port, the upstream's port, the folder of certificates.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent } from 'node:https';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { UPSTREAM_ID } from './programs.ts';

/** The package comes without types. */
interface Proxy {
  web(request: IncomingMessage, response: ServerResponse): void;
  on(event: 'error', listener: (error: Error) => void): void;
}
const proxies = createRequire(import.meta.url)('http-proxy') as {
  createProxyServer(options: object): Proxy;
};

const [port = '', upstream = '', folder = ''] = process.argv.slice(2);
const file = (name: string): Buffer => readFileSync(join(folder, name));
const agent = new Agent({
  keepAlive: true,
  maxCachedSessions: 0,
  ca: file('ca.pem'),
  cert: file('agent.pem'),
  key: file('agent.pem'),
  minVersion: 'TLSv1.3',
  checkServerIdentity: (_, { subjectaltname }) =>
    subjectaltname === `URI:${UPSTREAM_ID}`
      ? undefined
      : new Error(`the upstream is ${subjectaltname ?? 'nobody'}`),
});
const proxy = proxies.createProxyServer({ target: `https://127.0.0.1:${upstream}`, agent });
proxy.on('error', (error) => process.stderr.write(`${error.message}\n`));
createServer((request, response) => {
  const allowed =
    request.url?.startsWith('/v1/') === true && !request.url.startsWith('/v1/export/');
  if (allowed && (request.method === 'GET' || request.method === 'PUT'))
    proxy.web(request, response);
  else response.writeHead(403).end();
}).listen(Number(port), '127.0.0.1');
