/** Documents as text, from the lines of their spec (two blanks deep). */
type Kind = 'Sidecar' | 'Destination' | 'TaskPolicy';

export function document(kind: Kind, name: string, ...spec: readonly string[]): string {
  const lines = spec.map((text) => text.trimEnd()).filter((text) => text !== '');
  return `apiVersion: chaperone.dev/v1alpha1
kind: ${kind}
metadata: { name: ${name} }
spec:
${lines.join('\n')}
`;
}

interface SidecarText {
  readonly name?: string;
  /** Of the Workload API. */
  readonly endpoint: string;
  /** Default: the only SVID that there is. */
  readonly spiffeId?: string;
  /** Default a port that is free. */
  readonly forward?: string;
  /** More lines of the spec. */
  readonly more?: string;
}

/** Several as one text. */
export const documents = (...all: readonly string[]): string => all.join('---\n');

/** A Sidecar with an identity and a forward port; `more` says the rest. */
export function sidecarDocument(given: SidecarText): string {
  const { name = 'test', endpoint, spiffeId, forward = '127.0.0.1:0', more = '' } = given;
  const select = spiffeId === undefined ? '' : `, select: { spiffeId: '${spiffeId}' }`;
  return document(
    'Sidecar',
    name,
    `  identity: { workloadApi: '${endpoint}'${select} }`,
    `  forward: { address: '${forward}' }`,
    more,
  );
}

interface CrmText {
  readonly trustDomain?: string;
  /** Of its upstream. */
  readonly address: string;
  readonly port?: number;
  /** More of its `tls`. */
  readonly tls?: string;
  /** More lines of the spec. */
  readonly more?: string;
}

/** The Destination `crm` over mTLS; `more` says its rules and the rest. */
export function crmDocument(given: CrmText): string {
  const { trustDomain = 'dev.local', address, port = 80, tls = '', more = '' } = given;
  return document(
    'Destination',
    'crm',
    '  hosts: [crm.internal]',
    `  ports: [${port}]`,
    `  upstream: { address: '${address}' }`,
    `  tls: { mode: mtls, peers: ['spiffe://${trustDomain}/crm']${tls} }`,
    more,
  );
}
