/**
 * The programs that are compared, each given the same job: HTTP/1.1 from loopback in, pooled mTLS
 * to one upstream out, the upstream's SPIFFE ID verified, no session resumed, rules that let GET
 * and PUT below /v1 through and deny the rest. One worker each. Envoy and Chaperone write a record
 * per request to a file.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Issued } from '../lib/dev/ca.ts';
import type { Name } from './bars.ts';
import { start, type Running, TESTED_CORE, OTHER_CORE } from './machine.ts';

/** Where the upstream and the identity are. */
export interface Places {
  readonly folder: string;
  readonly upstreamPort: number;
  /** Envoy's program. */
  readonly envoy: string;
  /** Of the Workload API. */
  readonly endpoint: string;
}

/** Where a program listens: HTTP, and bytes that are only wrapped in mTLS. */
export interface Ports {
  readonly http: number;
  readonly tcp: number;
}

export interface Program {
  readonly name: Name;
  readonly http: number;
  /** Undefined where it does no such thing. */
  readonly tcp: number | undefined;
  /** The authority of an absolute-form target where it is a forward proxy. */
  readonly absolute: string | undefined;
  /** Answers 200 once the program serves. */
  readonly ready: string;
  launch(): Running;
}

export const SIZE_OF_BULK = 100_000_000;
export const UPSTREAM_ID = 'spiffe://bench.local/upstream';
export const AGENT_ID = 'spiffe://bench.local/agent';
const HOST = 'upstream.internal';
export const TOOLS_HOST = 'tools.internal';
/** Where the bundle is made, from what stands here. */
export const DIST = join(import.meta.dirname, '..', 'dist');

/** Writes the certificates of the others, which take them from files. */
export async function writeIdentities(
  folder: string,
  ca: string,
  svids: Record<string, Issued>,
): Promise<void> {
  await writeFile(join(folder, 'ca.pem'), ca);
  for (const [name, { certificatesPem, privateKeyPem }] of Object.entries(svids)) {
    await writeFile(join(folder, `${name}.pem`), certificatesPem + privateKeyPem, { mode: 0o600 });
  }
}

/** The mTLS upstream. `log` is a file that gets the serial of each request's client certificate. */
export async function launchUpstream(
  { folder, upstreamPort }: Places,
  log?: string,
): Promise<Running> {
  const www = join(folder, 'www', 'v1');
  await mkdir(www, { recursive: true });
  await writeFile(join(www, 'small'), 'ok\n');
  await writeFile(join(www, 'bulk'), Buffer.alloc(SIZE_OF_BULK));
  const config = join(folder, 'nginx.conf');
  await writeFile(
    config,
    `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/nginx.err;
user root;
events { worker_connections 4096; }
http {
  log_format serial '$ssl_client_serial'; access_log ${log === undefined ? 'off' : `${log} serial`};
  keepalive_requests 100000000; keepalive_timeout 300s; sendfile on; client_max_body_size 0;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/t1;
  fastcgi_temp_path ${folder}/t2; uwsgi_temp_path ${folder}/t3; scgi_temp_path ${folder}/t4;
  server {
    listen 127.0.0.1:${upstreamPort} ssl backlog=4096;
    ssl_certificate ${folder}/upstream.pem; ssl_certificate_key ${folder}/upstream.pem;
    ssl_client_certificate ${folder}/ca.pem; ssl_verify_client on;
    ssl_protocols TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
    root ${folder}/www;
    location = /v1/sink {
      proxy_pass http://unix:${folder}/sink.sock; proxy_pass_request_body off;
      proxy_set_header Content-Length '';
    }
    location = /v1/mcp {
      client_body_buffer_size 16k;
      proxy_pass http://unix:${folder}/mcp.sock; proxy_pass_request_body off;
      proxy_set_header Content-Length ''; proxy_set_header X-Id $call_id;
      proxy_set_header X-Result $call_result;
    }
  }
  map $request_body $call_id { default null; '~"id":(?<number>[0-9]+)' $number; }
  map $request_body $call_result { default content; '~"tools/list"' tools; }
  map $http_x_result $result {
    default '{"content":[{"type":"text","text":"ok"}]}';
    tools '{"tools":[{"name":"search","inputSchema":{"type":"object"}}]}';
  }
  server {
    listen unix:${folder}/mcp.sock;
    default_type application/json;
    return 200 '{"jsonrpc":"2.0","id":$http_x_id,"result":$result}';
  }
  # Asked once all of a body was read: an answer of its own nginx gives before.
  server { listen unix:${folder}/sink.sock; return 204; }
}
`,
  );
  return start(OTHER_CORE, ['nginx', '-p', folder, '-c', config]);
}

export async function chaperone(
  places: Places,
  ports: Ports & { health: number },
): Promise<Program> {
  const config = join(places.folder, 'chaperone.yaml');
  const { http, tcp, health } = ports;
  await writeFile(config, documents(places, ports));
  const entry = process.env['BENCH_ENTRY'] ?? join(DIST, 'chaperone.mjs');
  return {
    name: 'chaperone',
    http,
    tcp,
    absolute: HOST,
    ready: `http://127.0.0.1:${health}/readyz`,
    launch: () => start(TESTED_CORE, [entry, 'run', '-c', config]),
  };
}

function documents(places: Places, { http, tcp, health }: Ports & { health: number }): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: bench }
spec:
  identity: { workloadApi: '${places.endpoint}' }
  forward: { address: 127.0.0.1:${http} }
  health: { address: 127.0.0.1:${health} }
  audit: { sinks: [{ file: ${join(places.folder, 'audit.jsonl')} }] }
  defaults: { task: optional }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: upstream }
spec:
  hosts: [${HOST}]
  ports: [80]
  upstream: { address: 127.0.0.1:${places.upstreamPort} }
  tls: { mode: mtls, peers: ['${UPSTREAM_ID}'] }
  limits: { concurrent: 1000 }
  rules:
    - { name: no-exports, effect: deny, http: { paths: [/v1/export/**] } }
    - { name: use, effect: allow, action: write, http: { methods: [GET, PUT], paths: [/v1/**] } }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: tools }
spec:
  hosts: [${TOOLS_HOST}]
  ports: [80]
  protocol: mcp
  mcp: { path: /v1/mcp }
  upstream: { address: 127.0.0.1:${places.upstreamPort} }
  tls: { mode: mtls, peers: ['${UPSTREAM_ID}'] }
  limits: { concurrent: 1000 }
  rules:
    - { name: no-writes, effect: deny, mcp: { tools: [delete_ticket] } }
    - { name: search, effect: allow, action: read, mcp: { tools: [search] } }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: raw }
spec:
  hosts: [raw.internal]
  ports: [8443]
  protocol: tcp
  listen: 127.0.0.1:${tcp}
  upstream: { address: 127.0.0.1:${places.upstreamPort} }
  tls: { mode: mtls, peers: ['${UPSTREAM_ID}'] }
  limits: { concurrent: 1000 }`;
}

export async function haproxy(places: Places, { http, tcp }: Ports): Promise<Program> {
  const { folder } = places;
  const config = join(folder, 'haproxy.cfg');
  const server =
    `127.0.0.1:${places.upstreamPort} ssl verify required ca-file ${folder}/ca.pem ` +
    `crt ${folder}/agent.pem no-ssl-reuse`;
  await writeFile(
    config,
    `global
  nbthread 1
  maxconn 4096
  ssl-default-server-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${http}
  acl exports path_beg /v1/export/
  acl served path_beg /v1/
  acl methods method GET PUT POST
  http-request deny if exports or !served or !methods
  default_backend out
backend out
  server s ${server} pool-max-conn 256
frontend raw
  mode tcp
  bind 127.0.0.1:${tcp}
  default_backend wrapped
backend wrapped
  mode tcp
  server s ${server}
`,
  );
  const ready = `http://127.0.0.1:${http}/v1/small`;
  const launch = (): Running => start(TESTED_CORE, ['haproxy', '-db', '-f', config]);
  return { name: 'haproxy', http, tcp, absolute: undefined, ready, launch };
}

/**
 * http-proxy 1.18, the package that most Node proxies are made of, with an https.Agent that keeps
 * connections.
 */
export function httpProxy({ folder, upstreamPort }: Places, { http }: Ports): Program {
  const command = [
    process.execPath,
    join(import.meta.dirname, 'http-proxy.ts'),
    String(http),
    String(upstreamPort),
    folder,
  ];
  const ready = `http://127.0.0.1:${http}/v1/small`;
  return {
    name: 'http-proxy',
    http,
    tcp: undefined,
    absolute: undefined,
    ready,
    launch: () => start(TESTED_CORE, command),
  };
}
