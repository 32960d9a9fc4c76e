/** The whole sidecar as `chaperone run` composes it: documents on disk, a Workload API over gRPC, real upstreams with identities of their own. */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compose, type Sidecar } from '../../cmd/compose.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { disposer } from '../../lib/base/dispose.ts';
import { createDevTrustDomain, type DevTrustDomain } from '../../lib/dev/domain.ts';
import { startDemoUpstream, type DemoUpstream } from '../../lib/dev/upstream.ts';
import { startDevWorkloadApi, type DevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { until } from '../fakes/until.ts';
import { statusOf, wire, type Wire } from '../proxy/harness.ts';

export interface Stack extends AsyncDisposable {
  readonly sidecar: Sidecar;
  /** Hands out the identities of agent and upstreams. */
  readonly workload: DevWorkloadApi;
  readonly domain: DevTrustDomain;
  /** http://crm.internal/ */
  readonly api: DemoUpstream;
  /** CONNECT db.internal:5432 */
  readonly echo: DemoUpstream;
  /** What was logged, line by line. */
  readonly log: readonly string[];
  /** Writes the destinations anew, as an operator would. */
  write(documents: string): void;
  /** The destinations that the stack starts with. */
  readonly documents: string;
  records(): readonly Readonly<Record<string, unknown>>[];
  get(path: string, host?: string): Promise<number>;
  open(): Promise<Wire>;
  /** An open tunnel to the echo service. */
  tunnel(): Promise<Wire>;
}

export interface StackOptions {
  /** Lifetime of SVIDs in milliseconds; default one hour. */
  readonly ttl?: number;
  /** Sinks of the audit log; default a file. */
  readonly sinks?: string;
}

const AGENT = '/agent';
const QUIET = { log: () => {} };

export async function stack({ ttl = 3_600_000, sinks = '[{ file: audit.jsonl }]' }: StackOptions = {}): Promise<Stack> {
  const opened = disposer();
  const folder = await mkdtemp(join(tmpdir(), 'chaperone-'));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const clock = systemClock;
  const domain = await createDevTrustDomain({ name: 'example.org', clock });
  const identities = [AGENT, '/crm', '/db'].map((id) => ({ id }));
  const workload = opened.use(
    await startDevWorkloadApi({ socket: join(folder, 'api', 'api.sock'), domain, identities, ttl, clock }),
  );
  const upstream = async (id: string, service: 'api' | 'echo'): Promise<DemoUpstream> =>
    opened.use(
      await startDemoUpstream({
        endpoint: workload.endpoint,
        select: { spiffeId: parseSpiffeId(`spiffe://example.org${id}`) },
        callers: [`spiffe://example.org${AGENT}`],
        service,
        clock,
      }),
    );
  const api = await upstream('/crm', 'api');
  const echo = await upstream('/db', 'echo');
  const documents = destinations(api.address, echo.address);
  writeFileSync(
    join(folder, 'sidecar.yaml'),
    `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: scenario }
spec:
  identity: { workloadApi: '${workload.endpoint}', select: { spiffeId: 'spiffe://example.org${AGENT}' } }
  forward: { address: '127.0.0.1:0' }
  audit: { sinks: ${sinks} }
  defaults: { task: optional }
`,
  );
  const file = join(folder, 'destinations.yaml');
  writeFileSync(file, documents);
  const log: string[] = [];
  const sidecar = opened.use(
    await compose({
      paths: [folder],
      env: {},
      clock,
      logger: () => ({ ...QUIET, log: (level, part, text) => void log.push(`${level} ${part} ${text}`) }),
    }),
  );
  await until('the sidecar has its identity', () => sidecar.ready());
  const open = (): Promise<Wire> => wire(sidecar.addresses.get('forward')?.port ?? 0);
  return {
    sidecar,
    workload,
    domain,
    api,
    echo,
    log,
    documents,
    write: (text) => writeFileSync(file, text),
    records: () =>
      readFileSync(join(folder, 'audit.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    async get(path, host = 'crm.internal') {
      const line = await open();
      line.write(`GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
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
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

function destinations(api: string, echo: string): string {
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
---
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
