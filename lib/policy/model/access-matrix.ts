/**
 * The access matrix as data: what each way in does with each kind of destination. Refusals when
 * loading, decisions and the reference page are all read from here. Every combination of entry,
 * protocol and mode is in exactly one row.
 */
import type { EntryPoint } from './facts.ts';
import type { Destination, Protocol, TlsMode } from './destination.ts';

/**
 * request      judged per request by the rules; TLS is ours
 * wrapped      judged per connection; the bytes are wrapped in the mode's TLS by us
 * tunnel       judged per connection; the agent's own TLS, of which we read the ClientHello
 * intercepted  the agent's TLS ends here; what is inside comes in again, by the entry `intercept`,
 *              or by `cleartext` where it is HTTP without TLS
 * inspected    the first bytes say what is inside: HTTP in the clear comes in again, by `cleartext`
 * refused      not served here
 */
export type Outcome = 'request' | 'wrapped' | 'tunnel' | 'intercepted' | 'inspected' | 'refused';

export interface MatrixRow {
  readonly entry: EntryPoint;
  readonly protocols: readonly Protocol[];
  readonly modes: readonly TlsMode[];
  /** `tls.intercept` of the destination; undefined: either way. */
  readonly intercept?: boolean;
  /** Of the request: `https` is 443, where nothing but TLS is meant; undefined: any. */
  readonly port?: 'https' | 'other';
  readonly outcome: Outcome;
  /** For people: what happens, or why not. */
  readonly why: string;
  /** For a refusal: what to do. */
  readonly hint: string | undefined;
}

const OURS: readonly TlsMode[] = Object.freeze(['mtls', 'web-mtls', 'web', 'plaintext']);
const PASSTHROUGH: readonly TlsMode[] = Object.freeze(['passthrough']);
const EVERY: readonly Protocol[] = Object.freeze(['http', 'mcp', 'grpc', 'tcp']);
/** What is judged request by request. */
const REQUESTS: readonly Protocol[] = Object.freeze(['http', 'mcp', 'grpc']);
/** What HTTP/1.1 can carry of that. */
const PLAIN: readonly Protocol[] = Object.freeze(['http', 'mcp']);

const rows: readonly MatrixRow[] = [
  {
    entry: 'forward',
    protocols: PLAIN,
    modes: OURS,
    outcome: 'request',
    why: 'each request is judged by the rules and sent over TLS that starts here',
    hint: undefined,
  },
  {
    entry: 'forward',
    protocols: ['grpc'],
    modes: OURS,
    outcome: 'refused',
    why: 'gRPC needs HTTP/2, and plain requests to the forward proxy are HTTP/1.1',
    hint:
      'point the client at the local listener of the destination (listen), or use CONNECT ' +
      'with tls.intercept: true',
  },
  {
    entry: 'forward',
    protocols: ['tcp'],
    modes: OURS,
    outcome: 'refused',
    why: 'it is not an HTTP destination (protocol tcp)',
    hint: 'use CONNECT, or the local listener of the destination',
  },
  {
    entry: 'forward',
    protocols: EVERY,
    modes: PASSTHROUGH,
    outcome: 'refused',
    why: 'it is a passthrough destination, in which the agent speaks TLS itself',
    hint: 'use an https:// URL, which makes the client send CONNECT',
  },
  {
    entry: 'connect',
    protocols: EVERY,
    modes: PASSTHROUGH,
    outcome: 'tunnel',
    why:
      "the agent's own TLS passes through, once its ClientHello names the host of the " +
      'CONNECT request',
    hint: undefined,
  },
  {
    entry: 'connect',
    protocols: ['tcp'],
    modes: OURS,
    outcome: 'wrapped',
    why: 'the bytes of the tunnel are wrapped in TLS that starts here',
    hint: undefined,
  },
  {
    entry: 'connect',
    protocols: REQUESTS,
    modes: OURS,
    intercept: true,
    outcome: 'intercepted',
    why:
      "the agent's TLS ends at the sidecar, which stands in for the host; each request " +
      'inside is judged',
    hint: undefined,
  },
  {
    entry: 'connect',
    protocols: ['grpc'],
    modes: OURS,
    intercept: false,
    port: 'https',
    outcome: 'refused',
    why: 'its calls are judged one by one, which a tunnel would hide',
    hint: 'use the local listener of the destination, or set tls.intercept: true',
  },
  {
    entry: 'connect',
    protocols: PLAIN,
    modes: OURS,
    intercept: false,
    port: 'https',
    outcome: 'refused',
    why: 'its requests are judged one by one, which a tunnel would hide',
    hint:
      'use an http:// URL (TLS starts at the sidecar) or the local listener of the ' +
      'destination, or set tls.intercept: true',
  },
  {
    entry: 'connect',
    protocols: REQUESTS,
    modes: OURS,
    intercept: false,
    port: 'other',
    outcome: 'inspected',
    why: 'HTTP in the clear inside the tunnel is judged request by request; TLS inside is refused',
    hint: undefined,
  },
  {
    entry: 'cleartext',
    protocols: REQUESTS,
    modes: OURS,
    outcome: 'request',
    why: 'each request is judged by the rules and sent over TLS that starts here',
    hint: undefined,
  },
  {
    entry: 'cleartext',
    protocols: ['tcp'],
    modes: OURS,
    outcome: 'refused',
    why: 'it is not an HTTP destination (protocol tcp)',
    hint: 'connect again',
  },
  {
    entry: 'cleartext',
    protocols: EVERY,
    modes: PASSTHROUGH,
    outcome: 'refused',
    why: 'it is a passthrough destination, in which the agent speaks TLS itself',
    hint: 'connect again',
  },
  {
    entry: 'intercept',
    protocols: REQUESTS,
    modes: OURS,
    intercept: true,
    outcome: 'request',
    why: 'each request is judged by the rules and sent over TLS that starts here',
    hint: undefined,
  },
  {
    entry: 'intercept',
    protocols: REQUESTS,
    modes: OURS,
    intercept: false,
    outcome: 'refused',
    why: 'its requests are no longer judged inside a tunnel',
    hint: 'connect again',
  },
  {
    entry: 'intercept',
    protocols: ['tcp'],
    modes: OURS,
    outcome: 'refused',
    why: 'it is not an HTTP destination (protocol tcp)',
    hint: 'connect again',
  },
  {
    entry: 'intercept',
    protocols: EVERY,
    modes: PASSTHROUGH,
    outcome: 'refused',
    why: 'it is a passthrough destination, in which the agent speaks TLS itself',
    hint: 'connect again',
  },
  {
    entry: 'listener',
    protocols: REQUESTS,
    modes: OURS,
    outcome: 'request',
    why: 'each request is judged by the rules and sent over TLS that starts here',
    hint: undefined,
  },
  {
    entry: 'listener',
    protocols: ['tcp'],
    modes: OURS,
    outcome: 'wrapped',
    why: 'the bytes of the connection are wrapped in TLS that starts here',
    hint: undefined,
  },
  {
    entry: 'listener',
    protocols: EVERY,
    modes: PASSTHROUGH,
    outcome: 'refused',
    why:
      'a passthrough destination is reached by CONNECT, whose host the ClientHello is ' +
      'held against',
    hint: 'use an https:// URL through the forward proxy',
  },
];

export const MATRIX: readonly MatrixRow[] = Object.freeze(rows.map((row) => Object.freeze(row)));

/** Where nothing but TLS is meant (RFC 9110 section 4.2.2). */
export const HTTPS_PORT = 443;

/** What is asked for: how it came in, and for which port. */
export interface Asked {
  readonly entry: EntryPoint;
  readonly port: number;
}

/** A tunnel whose requests are exchanges of their own. */
export function carriesRequests({ outcome }: MatrixRow): boolean {
  return outcome === 'intercepted' || outcome === 'inspected';
}

/** The row for one way in and one destination. */
export function matrixRow(
  { entry, port }: Asked,
  { protocol, tls }: Pick<Destination, 'protocol' | 'tls'>,
): MatrixRow {
  const row = MATRIX.find(
    (one) =>
      one.entry === entry &&
      one.protocols.includes(protocol) &&
      one.modes.includes(tls.mode) &&
      (one.intercept === undefined || one.intercept === tls.intercept) &&
      (one.port === undefined || (one.port === 'https') === (port === HTTPS_PORT)),
  );
  if (row === undefined)
    throw new TypeError(`the access matrix has no row for ${entry}, ${protocol}, ${tls.mode}`);
  return row;
}
