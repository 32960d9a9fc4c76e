/**
 * The whole sidecar as `chaperone run` composes it: documents on disk, a Workload API over gRPC,
 * real upstreams with identities of their own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Sidecar, compose } from '../../cmd/compose.ts';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { disposer } from '../../lib/base/dispose.ts';
import type { DevTrustDomain } from '../../lib/dev/domain.ts';
import type { DemoUpstream } from '../../lib/dev/upstream.ts';
import type { DevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { crmDocument, document, documents, sidecarDocument } from './documents.ts';
import { type TestConnection, statusOf, testConnection } from './agent.ts';
import { until } from './until.ts';
import { testWorkload } from './workload.ts';

/** What a sidecar needs around it: documents on disk, identities, upstreams. */
export interface SidecarSetup extends AsyncDisposable {
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
  /** The destinations that it starts with. */
  readonly documents: string;
  /** Lines of the audit log; throws for one that is none. */
  records(): readonly Readonly<Record<string, unknown>>[];
}

export interface SidecarOptions {
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

/** What an agent does at the forward port. */
export interface SidecarAgent {
  /** The status of a GET. */
  get(path: string, host?: string): Promise<number>;
  open(): Promise<TestConnection>;
  /** An open tunnel to the echo service. */
  tunnel(): Promise<TestConnection>;
}

export interface TestSidecar extends SidecarSetup, SidecarAgent {
  readonly sidecar: Sidecar;
  /** What was logged, line by line. */
  readonly log: readonly string[];
}

const QUIET = { log: () => {} };
const TRUST_DOMAIN = 'example.org';

export async function sidecarSetup(options: SidecarOptions = {}): Promise<SidecarSetup> {
  const { sinks = '[{ file: audit.jsonl }]', clock = systemClock, more = '' } = options;
  const { issuing = clock, ttl } = options;
  const workload = await testWorkload({
    trustDomain: TRUST_DOMAIN,
    upstreams: { crm: 'api', db: 'echo' },
    clock: issuing,
    ...(ttl !== undefined && { ttl }),
  });
  const { endpoint, folder, upstreams } = workload;
  const written = (options.destinations ?? destinations)(
    upstreams.crm.address,
    upstreams.db.address,
  );
  writeFileSync(
    join(folder, 'sidecar.yaml'),
    sidecarDocument({
      name: 'scenario',
      endpoint,
      spiffeId: `spiffe://${TRUST_DOMAIN}/agent`,
      more: `  health: { address: '127.0.0.1:0' }
  adminApi: { socket: '${join(folder, 'admin', 'api.sock')}' }
  audit: { sinks: ${sinks} }
  defaults: { task: optional }
${more}`,
    }),
  );
  const file = join(folder, 'destinations.yaml');
  writeFileSync(file, written);
  return {
    folder,
    workload: workload.api,
    domain: workload.domain,
    api: upstreams.crm,
    echo: upstreams.db,
    documents: written,
    write: (text) => writeFileSync(file, text),
    records: () => recordsIn(join(folder, 'audit.jsonl')),
    [Symbol.asyncDispose]: () => workload[Symbol.asyncDispose](),
  };
}

/** Lines of an audit log; throws for one that is none. */
export function recordsIn(file: string): readonly Readonly<Record<string, unknown>>[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** The sidecar in this process. */
export async function testSidecar(options: SidecarOptions = {}): Promise<TestSidecar> {
  const opened = disposer();
  const around = opened.use(await sidecarSetup(options));
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
  const agent = sidecarAgent(() => sidecar.addresses.get('forward')?.port ?? 0);
  return {
    ...around,
    ...agent,
    sidecar,
    log,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

export function sidecarAgent(port: () => number): SidecarAgent {
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

function destinations(api: string, echo: string): string {
  return documents(crm(api), db(echo));
}

/** The destination of the echo service. */
export function db(echo: string): string {
  return document(
    'Destination',
    'db',
    `  hosts: [db.internal]
  ports: [5432]
  protocol: tcp
  upstream: { address: '${echo}' }
  tls: { mode: mtls, peers: ['spiffe://${TRUST_DOMAIN}/db'] }
  dataClass: internal`,
  );
}

/** The destination of the API. */
export function crm(api: string): string {
  return crmDocument({
    trustDomain: TRUST_DOMAIN,
    address: api,
    more: `  dataClass: internal
  rules:
    - { name: no-exports, effect: deny, http: { paths: [/v1/customers/export/**] } }
    - { name: read, effect: allow, action: read, http: { methods: [GET], paths: [/v1/customers/**] } }`,
  });
}
