/**
 * A row of the access matrix: what an entry point does with a kind of destination. Each protocol
 * has rows of its own (lib/policy/protocols); decisions, reviews and the reference page read them.
 */
import type { TlsMode } from './destination.ts';
import type { EntryPoint } from './facts.ts';

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

/** Where nothing but TLS is meant (RFC 9110 section 4.2.2). */
export const HTTPS_PORT = 443;

/** What is asked for: how it came in, and for which port. */
export interface Asked {
  readonly entry: EntryPoint;
  readonly port: number;
}

/** A tunnel whose requests are exchanges of their own. */
export function transportOnly({ outcome }: MatrixRow): boolean {
  return outcome === 'intercepted' || outcome === 'inspected';
}
