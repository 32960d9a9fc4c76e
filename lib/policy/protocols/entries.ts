/** Rows of the access matrix that several protocols share. */
import type { EntryPoint } from '../model/facts.ts';
import type { TlsMode } from '../model/destination.ts';
import type { MatrixRow } from '../model/access-matrix.ts';

/** Modes in which TLS to the upstream starts here, or none is spoken. */
export const OURS: readonly TlsMode[] = Object.freeze(['mtls', 'web-mtls', 'web', 'plaintext']);

/** Judged by the rules, request by request. */
function judged(entry: EntryPoint, intercept?: boolean): MatrixRow {
  return Object.freeze({
    entry,
    modes: OURS,
    ...(intercept === undefined ? undefined : { intercept }),
    outcome: 'request',
    why: 'each request is judged by the rules and sent over TLS that starts here',
    hint: undefined,
  });
}

/** CONNECT to a destination whose requests are judged, and what comes out of the tunnel. */
export const TUNNELED: readonly MatrixRow[] = Object.freeze([
  Object.freeze({
    entry: 'connect',
    modes: OURS,
    intercept: true,
    outcome: 'intercepted',
    why:
      "the agent's TLS ends at the sidecar, which stands in for the host; each request " +
      'inside is judged',
    hint: undefined,
  } as const),
  Object.freeze({
    entry: 'connect',
    modes: OURS,
    intercept: false,
    port: 'other',
    outcome: 'inspected',
    why: 'HTTP in the clear inside the tunnel is judged request by request; TLS inside is refused',
    hint: undefined,
  } as const),
  judged('cleartext'),
  judged('intercept', true),
  Object.freeze({
    entry: 'intercept',
    modes: OURS,
    intercept: false,
    outcome: 'refused',
    why: 'its requests are no longer judged inside a tunnel',
    hint: 'connect again',
  } as const),
  judged('listener'),
]);

/** What HTTP/1.1 can carry: plain requests to the forward proxy too. */
export const PLAIN: readonly MatrixRow[] = Object.freeze([
  judged('forward'),
  Object.freeze({
    entry: 'connect',
    modes: OURS,
    intercept: false,
    port: 'https',
    outcome: 'refused',
    why: 'its requests are judged one by one, which a tunnel would hide',
    hint:
      'use an http:// URL (TLS starts at the sidecar) or the local listener of the ' +
      'destination, or set tls.intercept: true',
  } as const),
  ...TUNNELED,
]);

/** A row that says why not, and what to do. */
export function refusedAt(
  entry: EntryPoint,
  modes: readonly TlsMode[],
  why: string,
  hint: string,
): MatrixRow {
  return Object.freeze({ entry, modes, outcome: 'refused', why, hint });
}
