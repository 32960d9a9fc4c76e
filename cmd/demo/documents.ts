/** The demo's configuration as an operator would write it. */
export interface Places {
  readonly workloadApi: string;
  readonly auditFile: string;
  readonly adminSocket: string;
  readonly agentSocket: string;
  readonly crm: string;
  readonly tickets: string;
  readonly impostor: string;
  readonly echo: string;
  readonly saas: string;
  /** PEM file of the CA that vouches for it. */
  readonly webRoots: string;
  /** Where the sidecar writes what programs need to trust its interception CA. */
  readonly trust: string;
  /** A policy that lets everything through, to prove that the demo notices. */
  readonly allowAll: boolean;
}

export function documents(places: Places, tunnels: boolean): string {
  const rules = places.allowAll ? ALLOW_ALL : RULES;
  const list = [
    sidecar(places),
    destination(
      'crm',
      places.crm,
      `  tls: { mode: mtls, peers: ['spiffe://dev.local/crm'] }\n  dataClass: ` +
        `confidential\n  rules:\n${rules}`,
    ),
    destination(
      'tickets',
      places.tickets,
      `  protocol: mcp\n  mcp: { path: /mcp }\n  tls: { mode: mtls, peers: ` +
        `['spiffe://dev.local/tickets'] }\n  dataClass: internal\n  ` +
        `rules:\n${places.allowAll ? EVERY_TOOL : TOOLS}`,
    ),
    destination(
      'billing',
      places.impostor,
      `  tls: { mode: mtls, peers: ['spiffe://dev.local/billing'] }\n  rules:\n${ALLOW_ALL}`,
    ),
  ];
  list.push(saas(places), ...tasked(places));
  if (tunnels) {
    list.push(
      destination(
        'echo',
        places.echo,
        `  protocol: tcp\n  tls: { mode: mtls, peers: ['spiffe://dev.local/echo'] }\n`,
        7,
      ),
    );
  }
  return list.join('---\n');
}

const RULES = `    - { name: no-exports, effect: deny, http: { paths: [/v1/export/**] } }
    - { name: read, effect: allow, action: read, http: { methods: [GET], paths: [/v1/**] } }
`;
const TOOLS = `    - name: read-tickets
      effect: allow
      action: read
      mcp: { tools: [search_tickets, get_ticket] }
    - name: small-refunds
      effect: allow
      action: write
      mcp: { tools: [refund] }
      when: args.amount > 0.0 && args.amount <= 100.0
`;
const EVERY_TOOL = `    - { name: everything, effect: allow, action: admin, mcp: { tools: ['*'] } }
`;
const ALLOW_ALL = `    - { name: everything, effect: allow, action: admin, http: {} }
`;

/** For tasks alone: customers, a forum that everybody reads, and a line to somewhere. */
function tasked({ crm, echo }: Places): readonly string[] {
  const peer = (name: string): string =>
    `  tls: { mode: mtls, peers: ['spiffe://dev.local/${name}'] }\n  task: required\n`;
  return [
    destination('support', crm, `${peer('crm')}  dataClass: confidential\n  rules:\n${SUPPORT}`),
    destination('forum', crm, `${peer('crm')}  dataClass: public\n  rules:\n${FORUM}`),
    destination(
      'line',
      echo,
      `${peer('echo')}  dataClass: public\n  protocol: tcp\n  action: read\n`,
      7,
    ),
    TASK_POLICY,
  ];
}

const SUPPORT = `    - { name: read, effect: allow, action: read, http: { methods: [GET], paths: [/v1/**] } }
    - name: add-note
      effect: allow
      action: write
      http: { methods: [POST], paths: [/v1/notes] }
`;
const FORUM = `    - name: no-leak
      effect: deny
      http: { methods: [POST] }
      when: rank(task.read) >= rank("confidential")
    - { name: post, effect: allow, action: post, http: { methods: [POST], paths: [/v1/notes] } }
`;
const TASK_POLICY = `apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: support }
spec:
  purposes: [answer-ticket]
  destinations: [support, forum, line]
  actions: [read, post]
  dataClasses: [public, confidential]
  lifetime: 5m
  depth: 1
  isolated: true
  stepUp: [{ actions: [write], approvers: [operator], ttl: 60s, maxCalls: 1 }]
`;

/** The service on the web, which the agent reaches by https://. */
export const SAAS_HOST = 'api.saas.example';

function saas({ saas: address, webRoots }: Places): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: saas }
spec:
  hosts: [${SAAS_HOST}]
  ports: [443]
  upstream: { address: '${address}' }
  tls: { mode: web, roots: ['${webRoots}'], intercept: true }
  rules:
    - name: read-models
      effect: allow
      action: read
      http: { methods: [GET], paths: [/v1/models/**] }
`;
}

function sidecar({ workloadApi, auditFile, adminSocket, agentSocket, trust }: Places): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: demo }
spec:
  identity: { workloadApi: '${workloadApi}', select: { spiffeId: 'spiffe://dev.local/agent' } }
  forward: { address: 127.0.0.1:0 }
  health: { address: 127.0.0.1:0 }
  intercept: { domains: [${SAAS_HOST}], trust: { folder: '${trust}' } }
  adminApi: { socket: ${adminSocket} }
  agentApi: { socket: ${agentSocket} }
  audit: { sinks: [{ file: ${auditFile} }] }
  defaults: { task: optional, unlisted: report }
  drain: 2s
`;
}

function destination(name: string, address: string, rest: string, port = 80): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: ${name} }
spec:
  hosts: [${name}.internal]
  ports: [${port}]
  upstream: { address: '${address}' }
${rest}`;
}
