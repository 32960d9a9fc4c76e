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
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { type DemoUpstream, startDemoUpstream } from '../../lib/dev/upstream.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';

export interface Places {
  readonly folder: string;
  readonly workloadApi: string;
  readonly crm: string;
  readonly saas: string;
}

export interface Place extends AsyncDisposable, Places {
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

/** `documents` say `agent/a.sock` and `admin/a.sock` below the folder, and `audit.jsonl` in it. */
export async function place(
  t: Parameters<typeof shortFolder>[0],
  documents: (places: Places) => string = clientDocuments,
): Promise<Place> {
  const folder = shortFolder(t);
  const opened = disposer();
  const api = opened.use(
    await startDevWorkloadApi({
      socket: join(folder, 'identity', 'w.sock'),
      domain: await createDevTrustDomain({ name: 'dev.local', clock: systemClock }),
      identities: [{ id: '/agent' }, { id: '/crm' }],
    }),
  );
  const upstream = opened.use(
    await startDemoUpstream({
      endpoint: api.endpoint,
      select: { spiffeId: parseSpiffeId('spiffe://dev.local/crm') },
      callers: ['spiffe://dev.local/agent'],
      service: 'api',
      clock: systemClock,
    }),
  );
  const web = opened.use(await startSaas(WEB_HOST));
  writeFileSync(join(folder, 'web-roots.pem'), web.root);
  const places = { folder, workloadApi: api.endpoint, crm: upstream.address, saas: web.address };
  writeFileSync(join(folder, 'c.yaml'), documents(places));
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
    ...places,
    agentSocket: join(folder, 'agent', 'a.sock'),
    adminSocket,
    upstream,
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

export function clientDocuments({ folder, workloadApi, crm, saas }: Places): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: agent }
spec:
  identity: { workloadApi: '${workloadApi}', select: { spiffeId: 'spiffe://dev.local/agent' } }
  forward: { address: '127.0.0.1:0' }
  agentApi: { socket: '${folder}/agent/a.sock' }
  adminApi: { socket: '${folder}/admin/a.sock' }
  intercept: { domains: [${WEB_HOST}], trust: { folder: '${folder}/trust' } }
  audit: { sinks: [{ file: audit.jsonl }] }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: crm }
spec:
  hosts: [crm.internal]
  ports: [80]
  upstream: { address: '${crm}' }
  tls: { mode: mtls, peers: ['spiffe://dev.local/crm'] }
  dataClass: confidential
  rules:
    - { name: no-exports, effect: deny, http: { paths: [/v1/export/**] } }
    - { name: read, effect: allow, action: read, http: { methods: [GET, HEAD] } }
    - { name: write, effect: allow, action: write, http: { methods: [POST], paths: [/v1/notes] } }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: web }
spec:
  hosts: [${WEB_HOST}]
  ports: [443]
  upstream: { address: '${saas}' }
  tls: { mode: web, roots: [web-roots.pem], intercept: true }
  dataClass: public
  rules:
    - { name: models, effect: allow, action: read, http: { methods: [GET], paths: [/v1/models/**] } }
---
apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: support }
spec:
  purposes: [answer-ticket]
  destinations: [crm, web]
  actions: [read]
  dataClasses: [confidential, public]
  depth: 1
  stepUp: [{ actions: [write] }]
`;
}
