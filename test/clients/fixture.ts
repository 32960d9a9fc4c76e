/**
 * A sidecar with what its agents and operators meet: an embedded identity, the demo's API over
 * mTLS, a service on the web, and the documents of a test.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { apiClient, field, wordsOf } from '../../cmd/api-client.ts';
import { compose } from '../../cmd/compose.ts';
import { type Saas, startSaas } from '../../cmd/demo/saas.ts';
import { logger } from '../../lib/telemetry/logger.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { disposer } from '../../lib/base/dispose.ts';
import type { DemoUpstream } from '../../lib/dev/upstream.ts';
import { crmDocument, document, documents, sidecarDocument } from '../support/documents.ts';
import { until } from '../support/until.ts';
import { testWorkload } from '../support/workload.ts';

export interface ClientAddresses {
  readonly folder: string;
  readonly workloadApi: string;
  readonly crm: string;
  readonly saas: string;
}

export interface ClientFixture extends AsyncDisposable, ClientAddresses {
  readonly agentSocket: string;
  readonly adminSocket: string;
  readonly upstream: DemoUpstream;
  readonly web: Saas;
  /** What the sidecar recorded of tasks, in order; records come a moment after what they tell. */
  events(): readonly string[];
  /** The same, once there are that many of an event. */
  eventsUntil(event: string, count?: number): Promise<readonly string[]>;
  /** The evidence, as text. */
  audit(): string;
  /** Answers the first step-up that waits, once there is one. */
  answer(what: 'approve' | 'deny'): Promise<unknown>;
  /** Where a task is: `open` or how it ended. */
  tasks(): Promise<readonly string[]>;
  revokeAll(): Promise<unknown>;
}

export const WEB_HOST = 'api.saas.example';
const PATIENCE = 20_000;

/**
 * What is written says `agent/a.sock` and `admin/a.sock` below the folder, and `audit.jsonl` in it.
 */
export async function clientFixture(
  write: (addresses: ClientAddresses) => string = clientDocuments,
): Promise<ClientFixture> {
  const opened = disposer();
  const workload = opened.use(await testWorkload());
  const { folder, upstreams } = workload;
  const web = opened.use(await startSaas(WEB_HOST));
  writeFileSync(join(folder, 'web-roots.pem'), web.root);
  const addresses = {
    folder,
    workloadApi: workload.endpoint,
    crm: upstreams.crm.address,
    saas: web.address,
  };
  writeFileSync(join(folder, 'c.yaml'), write(addresses));
  const paths = [join(folder, 'c.yaml')];
  const log = (level: Parameters<typeof logger>[0]): ReturnType<typeof logger> =>
    logger(level, { write: () => {} });
  const sidecar = opened.use(await compose({ paths, env: {}, clock: systemClock, logger: log }));
  await until('the sidecar is ready', () => sidecar.ready(), PATIENCE);
  const adminSocket = join(folder, 'admin', 'a.sock');
  const operator = apiClient(adminSocket);
  const listed = async (what: string): Promise<readonly unknown[]> =>
    Object(
      await operator.ask({ method: 'GET', path: `/v1/${what === 'tasks' ? what : 'step-ups'}` }),
    )[what];
  const audit = (): string => readFileSync(join(folder, 'audit.jsonl'), 'utf8');
  return {
    ...addresses,
    agentSocket: join(folder, 'agent', 'a.sock'),
    adminSocket,
    upstream: upstreams.crm,
    web,
    audit,
    events: () => eventsOf(audit()),
    eventsUntil: (event, count = 1) =>
      eventually(`${count} ${event}`, () => {
        const events = eventsOf(audit());
        return events.filter((one) => one === event).length >= count ? events : undefined;
      }),
    async answer(what) {
      const waiting = await until(
        'a step-up waits',
        async () => (await listed('stepUps'))[0],
        PATIENCE,
      );
      const path = `/v1/step-ups/${wordsOf(waiting, 'id')}/${what}`;
      return operator.ask({ method: 'POST', path, body: { by: 'olga' } });
    },
    tasks: async () => (await listed('tasks')).map((one) => String(field(one, 'state'))),
    revokeAll: () => operator.ask({ method: 'POST', path: '/v1/revoke-all', body: { by: 'olga' } }),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

function eventsOf(text: string): readonly string[] {
  const records = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): unknown => JSON.parse(line));
  return records.flatMap((record) =>
    field(record, 'kind') === 'task' ? [wordsOf(record, 'event')] : [],
  );
}

export const eventually = <T>(what: string, probe: () => T | Promise<T>): Promise<NonNullable<T>> =>
  until(what, probe, PATIENCE);

export function clientDocuments({ folder, workloadApi, crm, saas }: ClientAddresses): string {
  return documents(
    sidecarDocument({
      name: 'agent',
      endpoint: workloadApi,
      spiffeId: 'spiffe://dev.local/agent',
      more: `  agentApi: { socket: '${folder}/agent/a.sock' }
  adminApi: { socket: '${folder}/admin/a.sock' }
  intercept: { domains: [${WEB_HOST}], trust: { folder: '${folder}/trust' } }
  audit: { sinks: [{ file: audit.jsonl }] }`,
    }),
    crmDocument({
      address: crm,
      more: `  dataClass: confidential
  rules:
    - { name: no-exports, effect: deny, http: { paths: [/v1/export/**] } }
    - { name: read, effect: allow, action: read, http: { methods: [GET, HEAD] } }
    - { name: write, effect: allow, action: write, http: { methods: [POST], paths: [/v1/notes] } }`,
    }),
    document(
      'Destination',
      'web',
      `  hosts: [${WEB_HOST}]
  ports: [443]
  upstream: { address: '${saas}' }
  tls: { mode: web, roots: [web-roots.pem], intercept: true }
  dataClass: public
  rules:
    - { name: models, effect: allow, action: read, http: { methods: [GET], paths: [/v1/models/**] } }`,
    ),
    document(
      'TaskPolicy',
      'support',
      `  purposes: [answer-ticket]
  destinations: [crm, web]
  actions: [read]
  dataClasses: [confidential, public]
  depth: 1
  stepUp: [{ actions: [write] }]`,
    ),
  );
}
