/**
 * The programs that are compared, each given the same job: HTTP/1.1 from loopback in, pooled mTLS to one upstream out, the upstream's SPIFFE ID verified, no
 * session resumed, rules that let GET and PUT below /v1 through and deny the rest. One worker each. Envoy and Chaperone write a record per request to a file.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Issued } from '../lib/dev/ca.ts';
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

export interface Program {
  readonly name: string;
  /** Where requests go: port, and the authority of an absolute-form target where it is a forward proxy. */
  readonly port: number;
  readonly absolute: string | undefined;
  /** Answers 200 once the program serves. */
  readonly ready: string;
  launch(): Running;
}

export const SIZE_OF_BULK = 100_000_000;
export const UPSTREAM_ID = 'spiffe://bench.local/upstream';
export const AGENT_ID = 'spiffe://bench.local/agent';
const HOST = 'upstream.internal';
const CHAPERONE = join(import.meta.dirname, '..', 'dist', 'chaperone.mjs');

/** Writes the certificates of the others, which take them from files. */
export async function writeIdentities(folder: string, ca: string, svids: Record<string, Issued>): Promise<void> {
  await writeFile(join(folder, 'ca.pem'), ca);
  for (const [name, { certificatesPem, privateKeyPem }] of Object.entries(svids)) {
    await writeFile(join(folder, `${name}.pem`), certificatesPem + privateKeyPem, { mode: 0o600 });
  }
}

/** The mTLS upstream. `log` is a file that gets the serial of each request's client certificate. */
export async function launchUpstream({ folder, upstreamPort }: Places, log?: string): Promise<Running> {
  const www = join(folder, 'www', 'v1');
  await mkdir(www, { recursive: true });
  await writeFile(join(www, 'small'), 'ok\n');
  await writeFile(join(www, 'bulk'), Buffer.alloc(SIZE_OF_BULK));
  const config = join(folder, 'nginx.conf');
  await writeFile(
    config,
    `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/nginx.err; user root;
events { worker_connections 4096; }
http {
  log_format serial '$ssl_client_serial'; access_log ${log === undefined ? 'off' : `${log} serial`};
  keepalive_requests 100000000; keepalive_timeout 300s; sendfile on; client_max_body_size 0;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/t1; fastcgi_temp_path ${folder}/t2; uwsgi_temp_path ${folder}/t3; scgi_temp_path ${folder}/t4;
  server {
    listen 127.0.0.1:${upstreamPort} ssl backlog=4096;
    ssl_certificate ${folder}/upstream.pem; ssl_certificate_key ${folder}/upstream.pem;
    ssl_client_certificate ${folder}/ca.pem; ssl_verify_client on;
    ssl_protocols TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
    root ${folder}/www;
    location = /v1/sink { return 204; }
  }
}
`,
  );
  return start(OTHER_CORE, ['nginx', '-p', folder, '-c', config]);
}

export async function chaperone(places: Places, port: number, health: number): Promise<Program> {
  const config = join(places.folder, 'chaperone.yaml');
  await writeFile(
    config,
    `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: bench }
spec:
  identity: { workloadApi: '${places.endpoint}' }
  forward: { address: 127.0.0.1:${port} }
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
`,
  );
  const entry = process.env['BENCH_ENTRY'] ?? CHAPERONE;
  return {
    name: 'chaperone',
    port,
    absolute: HOST,
    ready: `http://127.0.0.1:${health}/readyz`,
    launch: () => start(TESTED_CORE, [entry, 'run', '-c', config]),
  };
}

export async function haproxy(places: Places, port: number): Promise<Program> {
  const { folder } = places;
  const config = join(folder, 'haproxy.cfg');
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
  bind 127.0.0.1:${port}
  acl exports path_beg /v1/export/
  acl served path_beg /v1/
  acl methods method GET PUT
  http-request deny if exports or !served or !methods
  default_backend out
backend out
  server s 127.0.0.1:${places.upstreamPort} ssl verify required ca-file ${folder}/ca.pem crt ${folder}/agent.pem no-ssl-reuse pool-max-conn 256
`,
  );
  const url = `http://127.0.0.1:${port}/v1/small`;
  const launch = (): Running => start(TESTED_CORE, ['haproxy', '-db', '-f', config]);
  return { name: 'haproxy', port, absolute: undefined, ready: url, launch };
}

export async function envoy(places: Places, port: number): Promise<Program> {
  const config = join(places.folder, 'envoy.json');
  await writeFile(config, JSON.stringify(envoyConfig(places, port)));
  const command = [places.envoy, '-c', config, '--concurrency', '1', '--use-dynamic-base-id', '-l', 'error'];
  const url = `http://127.0.0.1:${port}/v1/small`;
  return { name: 'envoy', port, absolute: undefined, ready: url, launch: () => start(TESTED_CORE, command) };
}

const type = (name: string): { '@type': string } => ({ '@type': `type.googleapis.com/envoy.${name}` });
const address = (port: number): object => ({ socket_address: { address: '127.0.0.1', port_value: port } });

function envoyConfig({ folder, upstreamPort }: Places, port: number): object {
  const manager = {
    ...type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'in',
    access_log: [
      {
        name: 'file',
        typed_config: {
          ...type('extensions.access_loggers.file.v3.FileAccessLog'),
          path: join(folder, 'envoy.log'),
          log_format: { json_format: ACCESS_LOG },
        },
      },
    ],
    http_filters: [
      { name: 'rbac', typed_config: { ...type('extensions.filters.http.rbac.v3.RBAC'), rules: ROLES } },
      { name: 'router', typed_config: type('extensions.filters.http.router.v3.Router') },
    ],
    route_config: {
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'out' } }] }],
    },
  };
  const cluster = {
    name: 'out',
    type: 'STATIC',
    load_assignment: {
      cluster_name: 'out',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstreamPort) } }] }],
    },
    transport_socket: { name: 'tls', typed_config: upstreamTls(folder) },
  };
  const filters = [{ name: 'http', typed_config: manager }];
  return {
    static_resources: {
      listeners: [{ name: 'in', address: address(port), filter_chains: [{ filters }] }],
      clusters: [cluster],
    },
  };
}

const ACCESS_LOG = {
  time: '%START_TIME%',
  method: '%REQ(:METHOD)%',
  path: '%REQ(:PATH)%',
  host: '%REQ(:AUTHORITY)%',
  status: '%RESPONSE_CODE%',
  flags: '%RESPONSE_FLAGS%',
  received: '%BYTES_RECEIVED%',
  sent: '%BYTES_SENT%',
  duration: '%DURATION%',
  upstream: '%UPSTREAM_HOST%',
  peer: '%UPSTREAM_PEER_URI_SAN%',
  request: '%REQ(X-REQUEST-ID)%',
};

const path = (prefix: string): object => ({ url_path: { path: { prefix } } });
const method = (exact: string): object => ({ header: { name: ':method', string_match: { exact } } });
const ROLES = {
  action: 'ALLOW',
  policies: {
    use: {
      permissions: [
        {
          and_rules: {
            rules: [
              path('/v1/'),
              { not_rule: path('/v1/export/') },
              { or_rules: { rules: [method('GET'), method('PUT')] } },
            ],
          },
        },
      ],
      principals: [{ any: true }],
    },
  },
};

function upstreamTls(folder: string): object {
  const file = (name: string): object => ({ filename: join(folder, name) });
  return {
    ...type('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
    max_session_keys: 0,
    common_tls_context: {
      tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
      tls_certificates: [{ certificate_chain: file('agent.pem'), private_key: file('agent.pem') }],
      validation_context: {
        trusted_ca: file('ca.pem'),
        match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: UPSTREAM_ID } }],
      },
    },
  };
}
