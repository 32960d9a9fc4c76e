/**
 * What becomes of a field of a request, by its name: one table for what is judged and for what is
 * sent, at every entry point. A name is looked up with `-` for all that is neither letter nor
 * digit, because servers that map names to variables (CGI, WSGI) cannot tell the spellings apart.
 * - of the hop (RFC 9110 section 7.6.1), written anew by us, ours: never passes;
 * - claim: says who asks (lib/policy/model/claims.ts), and passes only where the destination says
 *   so;
 * - override: asks the upstream to read another request than the one that was judged, and is
 *   refused;
 * - single: more than one line is ambiguous; all other repeated fields are lists and pass as they
 *   came.
 */
import { claimOf } from './claims.ts';

export type FieldKind = 'hop' | 'rewritten' | 'ours' | 'claim' | 'override' | 'single' | 'plain';

const words = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word !== '');

/** Of one hop, in requests and in answers. */
export const HOP_BY_HOP: readonly string[] = words(
  `connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings
  proxy-authorization proxy-authenticate proxy-authentication-info`,
);
/** Regenerated from what was judged, or answered by us. */
const REWRITTEN = words(
  `host content-length expect max-forwards
  sec-websocket-key sec-websocket-extensions sec-websocket-accept`,
);
const OVERRIDES = words(
  `x-http-method x-http-method-override x-method-override x-original-method x-original-url
  x-original-uri x-original-path x-rewrite-url x-rewrite-uri x-override-url x-http-path-override
  x-envoy-original-path x-envoy-original-method x-envoy-original-url`,
);
const SINGLE = words(
  `authorization content-type content-location content-range content-disposition date etag expires
  from if-modified-since if-unmodified-since if-range last-modified location max-forwards origin
  range referer user-agent sec-websocket-version idempotency-key x-api-key`,
);

const TABLE: ReadonlyMap<string, FieldKind> = new Map<string, FieldKind>([
  ...SINGLE.map((name) => [name, 'single'] as const),
  ...HOP_BY_HOP.map((name) => [name, 'hop'] as const),
  ...REWRITTEN.map((name) => [name, 'rewritten'] as const),
  ...OVERRIDES.map((name) => [name, 'override'] as const),
]);

/** `name` in lower case, with `-` for all that is neither letter nor digit. */
export function foldField(name: string): string {
  return /[^a-z0-9-]/.test(name) ? name.replace(/[^a-z0-9-]/g, '-') : name;
}

/** Of a name in lower case, in any spelling. */
export function kindOf(name: string): FieldKind {
  const folded = foldField(name);
  if (/^(?:x-)?chaperone(?:-|$)/.test(folded)) return 'ours';
  return TABLE.get(folded) ?? (claimOf(folded) === undefined ? 'plain' : 'claim');
}

/** Kinds that cross under no setting. */
export const NEVER: ReadonlySet<FieldKind> = new Set(['hop', 'rewritten', 'ours', 'override']);

/** Exact names, and beginnings of names that end in `-`; all in lower case. */
export interface FieldNames {
  readonly exact: ReadonlySet<string>;
  readonly prefixes: readonly string[];
}

export function isNamed({ exact, prefixes }: FieldNames, name: string): boolean {
  return exact.has(name) || prefixes.some((prefix) => name.startsWith(prefix));
}

/** `headers` of a destination. */
export interface HeaderPolicy {
  /** Claims that pass, and what passes beside `only`. */
  readonly pass: FieldNames;
  /** What is taken off besides; wins. */
  readonly strip: FieldNames;
  /** Nothing else passes, but `pass` and what describes the body; undefined: everything may. */
  readonly only: FieldNames | undefined;
}

/**
 * What the bytes of a body cannot be read without, and the one version of WebSocket that is served.
 */
const ALWAYS: ReadonlySet<string> = new Set([
  'content-type',
  'content-encoding',
  'sec-websocket-version',
]);

export type Verdict = 'pass' | 'strip' | 'refuse' | 'single';

/** What becomes of a field whose name, in lower case, is this. */
export function verdictOf(name: string, headers: HeaderPolicy | undefined): Verdict {
  const kind = kindOf(name);
  if (kind === 'override') return 'refuse';
  if (NEVER.has(kind)) return 'strip';
  const folded = foldField(name);
  // `content_type` beside `content-type`: which one counts is the server's guess.
  if (kind === 'single' && folded !== name) return 'strip';
  if (headers === undefined)
    return kind === 'claim' ? 'strip' : kind === 'single' ? 'single' : 'pass';
  const { pass, strip, only } = headers;
  if (isNamed(strip, folded)) return 'strip';
  const passed = isNamed(pass, name);
  if (kind === 'claim' && !passed) return 'strip';
  if (only !== undefined && !passed && !isNamed(only, name) && !ALWAYS.has(name)) return 'strip';
  return kind === 'single' ? 'single' : 'pass';
}
