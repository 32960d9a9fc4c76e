/** What a Destination of protocol http says: the requests that its rules are about. */
import type { HttpMatch, HttpRule } from '../../policy/protocols/http-rules.ts';
import type { HttpService } from '../../policy/protocols/http.ts';
import {
  type Infer,
  choice,
  defaulted,
  flag,
  list,
  optional,
  record,
} from '../../schema/decode.ts';
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

export function compileHttp({ rules }: HttpRules, conditions: Conditions): HttpService {
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
