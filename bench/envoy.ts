/**
 * Envoy's configuration: RBAC and a JSON access log on the HTTP listener, plain TCP on the other,
 * the same upstream TLS for both.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { start, TESTED_CORE } from './machine.ts';
import { type Places, type Ports, type Program, UPSTREAM_ID } from './programs.ts';

export async function envoy(places: Places, { http, tcp }: Ports): Promise<Program> {
  const config = join(places.folder, 'envoy.json');
  await writeFile(config, JSON.stringify(envoyConfig(places, { http, tcp })));
  const command = [
    places.envoy,
    '-c',
    config,
    '--concurrency',
    '1',
    '--use-dynamic-base-id',
    '-l',
    'error',
  ];
  const ready = `http://127.0.0.1:${http}/v1/small`;
  return {
    name: 'envoy',
    http,
    tcp,
    absolute: undefined,
    ready,
    launch: () => start(TESTED_CORE, command),
  };
}

const type = (name: string): { '@type': string } => ({
  '@type': `type.googleapis.com/envoy.${name}`,
});
const address = (port: number): object => ({
  socket_address: { address: '127.0.0.1', port_value: port },
});

function envoyConfig({ folder, upstreamPort }: Places, ports: Ports): object {
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
      {
        name: 'rbac',
        typed_config: { ...type('extensions.filters.http.rbac.v3.RBAC'), rules: ROLES },
      },
      { name: 'router', typed_config: type('extensions.filters.http.router.v3.Router') },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, route: { cluster: 'out' } }],
        },
      ],
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
  const raw = {
    ...type('extensions.filters.network.tcp_proxy.v3.TcpProxy'),
    stat_prefix: 'tcp',
    cluster: 'out',
  };
  return {
    static_resources: {
      listeners: [listener('http', ports.http, manager), listener('tcp', ports.tcp, raw)],
      clusters: [cluster],
    },
  };
}

function listener(name: string, port: number, filter: object): object {
  return {
    name,
    address: address(port),
    filter_chains: [{ filters: [{ name, typed_config: filter }] }],
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
const method = (exact: string): object => ({
  header: { name: ':method', string_match: { exact } },
});
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
              { or_rules: { rules: [method('GET'), method('PUT'), method('POST')] } },
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
      tls_params: {
        tls_minimum_protocol_version: 'TLSv1_3',
        tls_maximum_protocol_version: 'TLSv1_3',
      },
      tls_certificates: [{ certificate_chain: file('agent.pem'), private_key: file('agent.pem') }],
      validation_context: {
        trusted_ca: file('ca.pem'),
        match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: UPSTREAM_ID } }],
      },
    },
  };
}
