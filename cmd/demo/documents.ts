/** The demo's configuration as an operator would write it. */
export interface Places {
  readonly workloadApi: string;
  readonly auditFile: string;
  readonly adminSocket: string;
  readonly crm: string;
  readonly impostor: string;
  readonly echo: string;
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
      `  tls: { mode: mtls, peers: ['spiffe://dev.local/crm'] }\n  dataClass: confidential\n  rules:\n${rules}`,
    ),
    destination(
      'billing',
      places.impostor,
      `  tls: { mode: mtls, peers: ['spiffe://dev.local/billing'] }\n  rules:\n${ALLOW_ALL}`,
    ),
  ];
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
const ALLOW_ALL = `    - { name: everything, effect: allow, action: admin, http: {} }
`;

function sidecar({ workloadApi, auditFile, adminSocket }: Places): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: demo }
spec:
  identity: { workloadApi: '${workloadApi}', select: { spiffeId: 'spiffe://dev.local/agent' } }
  forward: { address: 127.0.0.1:0 }
  health: { address: 127.0.0.1:0 }
  adminApi: { socket: ${adminSocket} }
  audit: { sinks: [{ file: ${auditFile} }] }
  defaults: { task: optional }
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
