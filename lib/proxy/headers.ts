/**
 * Which fields cross the proxy: one table, applied to every request and response of every entry point. A field's name is looked up with
 * `_` read as `-`, because servers that map names to variables (CGI, WSGI) cannot tell the two apart. Rules of the request:
 * - `strip`: hop by hop (RFC 9110 section 7.6.1), written anew by us, or a claim about identity, origin or routing that only a proxy may make;
 * - `refuse`: asks the upstream to read another request than the one that was judged;
 * - `single`: more than one line is ambiguous; all other repeated fields are lists and pass as they came.
 * No field of the agent's changes what is enforced.
 */
import { Fault } from '../base/fault.ts';
import type { Fields } from '../http1/message.ts';

type Verdict = 'pass' | 'strip' | 'refuse' | 'single';

const words = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word !== '');

const HOP_BY_HOP = words(
  'connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings proxy-authorization proxy-authenticate proxy-authentication-info',
);
/** Regenerated from what was judged, or answered by us. */
const REWRITTEN = words('host content-length expect max-forwards');
const CLAIMS =
  words(`forwarded x-real-ip x-client-ip x-cluster-client-ip true-client-ip client-cert client-cert-chain x-forwarded proxy
  sec-websocket-key sec-websocket-extensions sec-websocket-accept`);
const CLAIM_PREFIXES = words(
  'x-forwarded- x-spiffe- x-task- x-client-cert- x-ssl- ssl-client- chaperone- x-chaperone-',
);
const OVERRIDES = words(
  'x-http-method x-http-method-override x-method-override x-original-method x-original-url x-original-uri x-rewrite-url',
);
const SINGLE =
  words(`authorization content-type content-location content-range content-disposition date etag expires from if-modified-since
  if-unmodified-since if-range last-modified location max-forwards origin range referer user-agent sec-websocket-version idempotency-key x-api-key`);

const TABLE: ReadonlyMap<string, Verdict> = new Map<string, Verdict>([
  ...SINGLE.map((name) => [name, 'single'] as const),
  ...[...HOP_BY_HOP, ...REWRITTEN, ...CLAIMS].map((name) => [name, 'strip'] as const),
  ...OVERRIDES.map((name) => [name, 'refuse'] as const),
]);

/** Names a Connection field may not take away: they carry who asks, what for, or what we add (H2). */
const KEPT =
  /^(host|authorization|cookie|via|origin|content-.*|chaperone-.*|x-spiffe-.*|x-task-.*|transfer-encoding|expect)$/;

/** Verdicts already given; names repeat. Bounded, because names are the agent's. */
const MOST_NAMES = 1024;

export interface FieldRules {
  /** The fields to send upstream, without Host; throws a Fault for what must not be guessed at. */
  request(fields: Fields): string[];
  /** The same fields with our bearer token (RFC 6750 section 2.1) in place of any Authorization. */
  authorized(fields: Fields, token: string): string[];
  /** The fields to send to the agent. */
  response(fields: Fields): string[];
}

const CREDENTIALS = 'proxy-authorization';

/** Proxy-Authorization, as it came; two of them name nobody. @throws Fault `ambiguous` */
export function credentialsOf(fields: Fields): string | undefined {
  let found: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== CREDENTIALS) continue;
    if (found !== undefined) throw repeated(CREDENTIALS);
    found = fields[i + 1] ?? '';
  }
  return found;
}

export interface FieldRulesOptions {
  /** Our name in Via: random for each process, so that a request that comes back is known (H7). */
  readonly pseudonym: string;
}

export function fieldRules({ pseudonym }: FieldRulesOptions): FieldRules {
  const verdicts = new Map<string, Verdict>();
  const via = `1.1 ${pseudonym}`;
  const verdictOf = (name: string): Verdict => {
    const known = verdicts.get(name);
    if (known !== undefined) return known;
    if (verdicts.size >= MOST_NAMES) verdicts.clear();
    const verdict = judgeName(name);
    verdicts.set(name, verdict);
    return verdict;
  };
  return {
    request(fields) {
      const dropped = nominations(fields);
      const kept: string[] = [];
      let singles: string[] | undefined;
      for (let i = 0; i < fields.length; i += 2) {
        const name = fields[i] ?? '';
        const value = fields[i + 1] ?? '';
        const verdict = verdictOf(name);
        if (verdict === 'refuse') throw overriding(name);
        if (verdict === 'single') {
          if (singles?.includes(name) === true) throw repeated(name);
          (singles ??= []).push(name);
        }
        if (verdict === 'strip' || dropped?.has(name) === true) continue;
        if (name === 'via' && value.includes(pseudonym)) throw looped();
        kept.push(name, value);
      }
      kept.push('via', via);
      return kept;
    },
    authorized(fields, token) {
      const kept = ['authorization', `Bearer ${token}`];
      for (let i = 0; i < fields.length; i += 2) {
        const name = fields[i] ?? '';
        if (!isAuthorization(name)) kept.push(name, fields[i + 1] ?? '');
      }
      return kept;
    },
    response(fields) {
      const dropped = nominations(fields, true);
      const kept: string[] = [];
      for (let i = 0; i < fields.length; i += 2) {
        const name = fields[i] ?? '';
        if (RESPONSE_STRIP.has(name) || name.startsWith('chaperone-') || dropped?.has(name) === true) continue;
        kept.push(name, fields[i + 1] ?? '');
      }
      kept.push('via', via);
      return kept;
    },
  };
}

/** In every spelling that a server may read as that field. */
function isAuthorization(name: string): boolean {
  return name === 'authorization' || name.replaceAll('_', '-') === 'authorization';
}

const RESPONSE_STRIP: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'content-length',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'alt-svc',
]);

function judgeName(name: string): Verdict {
  const dashed = name.replaceAll('_', '-');
  if (CLAIM_PREFIXES.some((prefix) => dashed.startsWith(prefix))) return 'strip';
  const verdict = TABLE.get(dashed) ?? 'pass';
  // `content_type` beside `content-type`: which one counts is the server's guess.
  return verdict === 'single' && dashed !== name ? 'strip' : verdict;
}

/**
 * Names that Connection takes away besides the ones that never pass (RFC 9110 section 7.6.1). A request that nominates what is not for one hop is refused; in an
 * answer such a nomination does nothing.
 */
function nominations(fields: Fields, answer = false): ReadonlySet<string> | undefined {
  let found: Set<string> | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'connection') continue;
    const value = fields[i + 1] ?? '';
    if (value === 'keep-alive' || value === 'close') continue;
    for (const token of value.toLowerCase().split(',')) {
      const name = token.trim();
      if (!KEPT.test(name.replaceAll('_', '-'))) (found ??= new Set()).add(name);
      else if (!answer) throw nominated(name);
    }
  }
  return found;
}

function nominated(name: string): Fault {
  const hint = 'Connection may name hop-by-hop fields only';
  return new Fault('malformed', `Connection names ${name}, which is not for one hop`, { hint, at: 'connection' });
}

function overriding(name: string): Fault {
  const hint = 'send the method and the path that are meant: they are what is judged';
  return new Fault('ambiguous', `${name} asks for another request than the one that is judged`, { hint, at: name });
}

function repeated(name: string): Fault {
  return new Fault('ambiguous', `${name} appears more than once`, { hint: 'send it once', at: name });
}

function looped(): Fault {
  const hint =
    'an upstream sends requests back to this proxy: look at the upstream address and at proxy settings of the upstream';
  return new Fault('loop', 'this request has been through this proxy before', { hint, at: 'via' });
}
