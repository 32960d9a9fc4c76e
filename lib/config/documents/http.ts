/** What a Destination of protocol http says: the requests that its rules are about. */
import type { HttpMatch, HttpRule } from '../../policy/protocols/http-rules.ts';
import type { HttpService } from '../../policy/protocols/http.ts';
import { choice, defaulted, flag, list, optional, record } from '../../schema/decode.ts';
import type { Infer } from '../../schema/schema.ts';
import { type CheckOf, at, when } from './finding.ts';
import type { ProtocolDocument } from './protocol-document.ts';
import { type Conditions, type RuleDocument, compileRules } from './rule.ts';
import { method, pathPattern } from './scalars.ts';

export const httpMatch = record({
  methods: optional(
    list(method, { least: 1, most: 64, unique: String }),
    'Case-sensitive. Without it: in an allow rule GET, HEAD, POST, PUT, PATCH, DELETE and ' +
      'OPTIONS, in a deny rule every method.',
  ),
  paths: optional(
    list(pathPattern, { least: 1, most: 1000, unique: ({ text }) => text }),
    'Without it: every path. Canonical, case-sensitive, whole segments: `*` is one, `**` ' +
      'at the end any number. A trailing slash counts: `/v1/export` is not `/v1/export/`, ' +
      '`/v1/export/**` is both and all below, so write deny rules with `/**`.',
  ),
  websocket: defaulted(flag(), false, 'Allow rules alone: an upgrade to WebSocket is allowed too.'),
  contentOnGet: defaulted(
    choice(['deny', 'allow']),
    'deny',
    'Allow rules alone: `allow` lets a GET have content, as search APIs want it. Servers ' +
      'differ on what follows such a request on its connection, so that one is not used ' +
      'again. Without it such a request is 400.',
  ),
  mcpLike: optional(
    choice(['deny', 'allow']),
    'Allow rules of protocol mcp alone. Without it, and with deny, a request that ' +
      'carries something' +
      ' and has a field `Mcp-…` or `Accept: text/event-stream` is denied beside the endpoints:' +
      ' it could be a message that nobody judges.',
  ),
});

type HttpDocument = Infer<typeof httpMatch>;

export interface HttpRules {
  readonly rules: readonly (RuleDocument & { readonly http: HttpDocument | undefined })[];
}

function compileHttp({ rules }: HttpRules, conditions: Conditions): HttpService {
  const about = ({ http }: HttpRules['rules'][number]): Pick<HttpRule, 'http'> | undefined =>
    http && { http: compileHttpMatch(http) };
  return Object.freeze({ protocol: 'http', rules: compileRules(rules, conditions, about) });
}

export function compileHttpMatch({
  methods,
  paths,
  websocket,
  contentOnGet,
}: HttpDocument): HttpMatch {
  return Object.freeze({
    methods: methods && new Set(methods),
    paths,
    websocket,
    contentOnGet: contentOnGet === 'allow',
  });
}

export interface HttpSpec extends HttpRules {
  readonly upstream: { readonly http: 'h1' | 'h2' | undefined } | undefined;
}

/** Of rules about requests, at every protocol that has them. */
export const REQUEST_CHECKS: readonly CheckOf<HttpRules>[] = Object.freeze([
  {
    name: 'websocket-is-allowed-only',
    doc:
      '`websocket` belongs to allow rules: deny rules hold for WebSocket as for ' +
      'everything else.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, http }, i) =>
        when(
          effect === 'deny' && http?.websocket === true,
          at('rules', i, 'http', 'websocket'),
          'a deny rule is about WebSocket anyway',
          'remove it',
        ),
      ),
  },
  {
    name: 'content-on-get-is-allowed-only',
    doc:
      '`contentOnGet` belongs to allow rules: deny rules hold for a GET with content as for ' +
      'every other.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, http }, i) =>
        when(
          effect === 'deny' && http?.contentOnGet === 'allow',
          at('rules', i, 'http', 'contentOnGet'),
          'a deny rule is about a GET with content anyway',
          'remove it',
        ),
      ),
  },
]);

const HTTP_CHECKS: readonly CheckOf<HttpSpec>[] = Object.freeze([
  ...REQUEST_CHECKS,
  {
    name: 'no-websocket-over-h2',
    doc: '`websocket` needs an upstream that is spoken to in HTTP/1.1.',
    find: ({ upstream, rules }: HttpSpec) =>
      rules.flatMap(({ http }, i) =>
        when(
          upstream?.http === 'h2' && http?.websocket === true,
          at('rules', i, 'http', 'websocket'),
          'no WebSocket is opened over HTTP/2',
          'remove upstream.http, or write a destination for the WebSocket',
        ),
      ),
  },
  {
    name: 'mcp-like-is-for-mcp',
    doc: '`mcpLike` belongs to rules of protocol mcp.',
    find: ({ rules }) =>
      rules.flatMap(({ http }, i) =>
        when(
          http?.mcpLike !== undefined,
          at('rules', i, 'http', 'mcpLike'),
          'protocol http has no endpoints',
          'remove it',
        ),
      ),
  },
]);

export function unreadRequests({ http }: HttpRules['rules'][number]): string | undefined {
  return http?.websocket === true ? 'a WebSocket' : undefined;
}

export const HTTP_DOCUMENT: ProtocolDocument<HttpSpec, HttpService> = Object.freeze({
  keys: ['http'],
  example: 'write http: {} for all requests',
  hasPaths: true,
  choosesHttp: true,
  checks: HTTP_CHECKS,
  says: ({ http }) => http !== undefined,
  unread: unreadRequests,
  compile: compileHttp,
} satisfies ProtocolDocument<HttpSpec, HttpService>);
