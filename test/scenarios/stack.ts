/**
 * The whole sidecar as `chaperone run` composes it: documents on disk, a Workload API over gRPC,
 * real upstreams with identities of their own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Sidecar, compose } from '../../cmd/compose.ts';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { disposer } from '../../lib/base/dispose.ts';
import { type DevTrustDomain, createDevTrustDomain } from '../../lib/dev/domain.ts';
import { type DemoUpstream, startDemoUpstream } from '../../lib/dev/upstream.ts';
import { type DevWorkloadApi, startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { type TestConnection, statusOf, testConnection } from '../support/agent.ts';
import { until } from '../support/until.ts';

/** What a sidecar needs around it: documents on disk, identities, upstreams. */
export interface World extends AsyncDisposable {
  /** Of the documents; the only path that a sidecar is given. */
  readonly folder: string;
  /** Hands out the identities of agent and upstreams. */
  readonly workload: DevWorkloadApi;
  readonly domain: DevTrustDomain;
  /** http://crm.internal/ */
  readonly api: DemoUpstream;
  /** CONNECT db.internal:5432 */
  readonly echo: DemoUpstream;
  /** Writes the destinations anew, as an operator would. */
  write(documents: string): void;
  /** The destinations that the world starts with. */
  readonly documents: string;
  /** Lines of the audit log; throws for one that is none. */
  records(): readonly Readonly<Record<string, unknown>>[];
}

export interface WorldOptions {
  /** Lifetime of SVIDs in milliseconds; default one hour. */
  readonly ttl?: number;
  /** Sinks of the audit log; default a file. */
  readonly sinks?: string;
  /** Of the sidecar and of the authority; upstreams keep the system's. */
  readonly clock?: Clock;
  /** Of the authority alone. */
  readonly issuing?: Clock;
  /** More lines of the Sidecar's spec, indented by two. */
  readonly more?: string;
  /** Documents in place of the two destinations, of the addresses of API and echo. */
  readonly destinations?: (api: string, echo: string) => string;
}

export interface Stack extends World {
  readonly sidecar: Sidecar;
  /** What was logged, line by line. */
  readonly log: readonly string[];
  get(path: string, host?: string): Promise<number>;
  open(): Promise<TestConnection>;
  /** An open tunnel to the echo service. */
  tunnel(): Promise<TestConnection>;
}

const AGENT = '/agent';
const QUIET = { log: () => {} };

export async function world(options: WorldOptions = {}): Promise<World> {
  const {
    ttl = 3_600_000,
    sinks = '[{ file: audit.jsonl }]',
    clock = systemClock,
    more = '',
  } = options;
  const { issuing = clock } = options;
  const opened = disposer();
  const folder = await mkdtemp(join(tmpdir(), 'chaperone-'));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const domain = await createDevTrustDomain({ name: 'example.org', clock: issuing });
  const identities = [AGENT, '/crm', '/db'].map((id) => ({ id }));
  const workload = opened.use(
    await startDevWorkloadApi({
      socket: join(folder, 'api', 'api.sock'),
      domain,
      identities,
      ttl,
      clock: issuing,
    }),
  );
  const upstream = async (id: string, service: 'api' | 'echo'): Promise<DemoUpstream> =>
    opened.use(
      await startDemoUpstream({
        endpoint: workload.endpoint,
        select: { spiffeId: parseSpiffeId(`spiffe://example.org${id}`) },
        callers: [`spiffe://example.org${AGENT}`],
        service,
        clock: systemClock,
      }),
    );
  const api = await upstream('/crm', 'api');
  const echo = await upstream('/db', 'echo');
  const documents = (options.destinations ?? destinations)(api.address, echo.address);
  writeFileSync(
    join(folder, 'sidecar.yaml'),
    sidecarDocument({
      endpoint: workload.endpoint,
      admin: join(folder, 'admin', 'api.sock'),
      sinks,
      more,
    }),
  );
  const file = join(folder, 'destinations.yaml');
  writeFileSync(file, documents);
  return {
    folder,
    workload,
    domain,
    api,
    echo,
    documents,
    write: (text) => writeFileSync(file, text),
    records: () =>
      readFileSync(join(folder, 'audit.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

/** The sidecar in this process. */
export async function stack(options: WorldOptions = {}): Promise<Stack> {
  const opened = disposer();
  const around = opened.use(await world(options));
  const log: string[] = [];
  const sidecar = opened.use(
    await compose({
      paths: [around.folder],
      env: {},
      clock: options.clock ?? systemClock,
      logger: () => ({
        ...QUIET,
        log: (level, part, text) => void log.push(`${level} ${part} ${text}`),
      }),
    }),
  );
  await until(
    'the sidecar has its identity',
    () => sidecar.identity.states.get()?.kind === 'current',
  );
  const agent = agentOf(() => sidecar.addresses.get('forward')?.port ?? 0);
  return {
    ...around,
    ...agent,
    sidecar,
    log,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

/** What an agent does at the forward port. */
export function agentOf(port: () => number): Pick<Stack, 'get' | 'open' | 'tunnel'> {
  const open = (): Promise<TestConnection> => testConnection(port());
  return {
    async get(path, host = 'crm.internal') {
      const line = await open();
      line.write(
        `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      );
      return statusOf(await line.ended());
    },
    open,
    async tunnel() {
      const line = await open();
      line.write('CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n');
      await line.sees(/^HTTP\/1\.1 200 [^]*\r\n\r\n/);
      line.write('ping');
      await line.sees('ping');
      return line;
    },
  };
}

function sidecarDocument(
  given: Readonly<Record<'endpoint' | 'admin' | 'sinks' | 'more', string>>,
): string {
  const { endpoint, admin, sinks, more } = given;
  return `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: scenario }
spec:
  identity: { workloadApi: '${endpoint}', select: { spiffeId: 'spiffe://example.org${AGENT}' } }
  forward: { address: '127.0.0.1:0' }
  health: { address: '127.0.0.1:0' }
  adminApi: { socket: '${admin}' }
  audit: { sinks: ${sinks} }
  defaults: { task: optional }
${more}`;
}

function destinations(api: string, echo: string): string {
  return `${crm(api)}---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: db }
spec:
  hosts: [db.internal]
  ports: [5432]
  protocol: tcp
  upstream: { address: '${echo}' }
  tls: { mode: mtls, peers: ['spiffe://example.org/db'] }
  dataClass: internal
`;
}

/** The destination of the API. */
export function crm(api: string): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: crm }
spec:
  hosts: [crm.internal]
  ports: [80]
  upstream: { address: '${api}' }
  tls: { mode: mtls, peers: ['spiffe://example.org/crm'] }
  dataClass: internal
  rules:
    - { name: no-exports, effect: deny, http: { paths: [/v1/customers/export/**] } }
    - { name: read, effect: allow, action: read, http: { methods: [GET], paths: [/v1/customers/**] } }
`;
}
