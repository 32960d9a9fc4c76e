/**
 * Whether a rule is about a request. Allow and deny read an omitted key differently, each the safe
 * way: a deny rule without methods is about every method there is, an allow rule without methods
 * about the common ones alone; an upgrade to WebSocket, and content on a GET, need an allow rule
 * that says so.
 */
import type { HttpFacts } from '../model/facts.ts';
import type { PathPattern } from '../../net/path-pattern.ts';
import type { RuleBase } from '../model/rule.ts';
import { cut, shownPath } from '../model/shown.ts';
import { NO_ALLOW_RULE, type RuleTerms, failsCondition, onlyDeny } from './by-rules.ts';

export interface HttpMatch {
  /**
   * Case-sensitive methods (RFC 9110 section 9.1). undefined: on a deny rule any method; on an
   * allow rule the methods of RFC 9110 and 5789 but CONNECT and TRACE, so that a method nobody
   * thought of is allowed only by name.
   */
  readonly methods: ReadonlySet<string> | undefined;
  /** undefined: any path. */
  readonly paths: readonly PathPattern[] | undefined;
  /**
   * Whether an allow rule allows an upgrade to WebSocket (RFC 6455). Requests without one match
   * either way; deny rules match both.
   */
  readonly websocket: boolean;
  /**
   * Whether an allow rule allows content on a GET, for which HTTP has no meaning (RFC 9110 section
   * 9.3.1).
   */
  readonly contentOnGet?: boolean | undefined;
}

export interface HttpRule extends RuleBase {
  readonly http: HttpMatch;
}

/**
 * What an allow rule without `methods` stands for (RFC 9110 section 9.3 without CONNECT and TRACE,
 * RFC 5789).
 */
export const COMMON_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
]);

/** What the rule says but for its condition. */
export function ruleMatches(rule: HttpRule, request: HttpFacts): boolean {
  const { http } = rule;
  return (
    methodMatches(rule, http, request) &&
    pathMatches(rule, http, request) &&
    upgradeMatches(rule, http, request) &&
    contentMatches(rule, http, request)
  );
}

/** The first part of a rule about HTTP that keeps it from matching. */
function httpMismatch(
  rule: HttpRule,
  request: HttpFacts,
): 'method' | 'path' | 'upgrade' | 'content' | undefined {
  const { http } = rule;
  if (!pathMatches(rule, http, request)) return 'path';
  if (!methodMatches(rule, http, request)) return 'method';
  if (!upgradeMatches(rule, http, request)) return 'upgrade';
  return contentMatches(rule, http, request) ? undefined : 'content';
}

/**
 * Which part of an allow rule kept it from matching, when the others do; its condition is looked at
 * last.
 */
export type NearMiss = 'method' | 'upgrade' | 'content' | 'condition' | undefined;

export function nearMiss(rule: HttpRule, request: HttpFacts): NearMiss {
  if (rule.effect !== 'allow') return undefined;
  const part = httpMismatch(rule, request);
  if (part === 'path') return undefined;
  return part ?? (rule.when === undefined ? undefined : 'condition');
}

function methodMatches(
  { effect }: HttpRule,
  { methods }: HttpMatch,
  { method }: HttpFacts,
): boolean {
  if (methods !== undefined) return methods.has(method);
  return effect === 'deny' || COMMON_METHODS.has(method);
}

/** A deny rule is about what a server may make of the path, too. */
function pathMatches({ effect }: HttpRule, { paths }: HttpMatch, { path }: HttpFacts): boolean {
  if (paths === undefined) return true;
  return effect === 'deny'
    ? paths.some((pattern) => pattern.denies(path))
    : paths.some((pattern) => pattern.matches(path));
}

function upgradeMatches(
  { effect }: HttpRule,
  { websocket }: HttpMatch,
  request: HttpFacts,
): boolean {
  return !request.websocket || websocket || effect === 'deny';
}

function contentMatches(
  { effect }: HttpRule,
  { contentOnGet }: HttpMatch,
  request: HttpFacts,
): boolean {
  return !hasContentOnGet(request) || contentOnGet === true || effect === 'deny';
}

export function allowsContentOnGet({ http }: HttpRule): boolean {
  return http.contentOnGet === true;
}

export function hasContentOnGet({ method, empty }: HttpFacts): boolean {
  return method === 'GET' && empty === false;
}

/** Why a rule is not about a request; undefined: it is. */
export function mismatchInWords(rule: HttpRule, request: HttpFacts): string | undefined {
  const part = httpMismatch(rule, request);
  return part === undefined ? undefined : PARTS[part];
}

const PARTS = Object.freeze({
  method: 'it is about other methods',
  path: 'it is about other paths',
  upgrade: 'it does not allow WebSocket',
  content: 'it does not allow content on GET',
});

/** The request, for people: never its query. */
export function requestInWords({ method, path, websocket }: HttpFacts): string {
  return `${shortMethod(method)} ${cut(shownPath(path))}${websocket ? ' as WebSocket' : ''}`;
}

function shortMethod(method: string): string {
  return method.length > 32 ? `${method.slice(0, 32)}…` : method;
}

function requestHint(rules: readonly HttpRule[], request: HttpFacts): string {
  if (onlyDeny(rules)) return NO_ALLOW_RULE;
  for (const rule of rules) {
    const miss = nearMiss(rule, request);
    if (miss === 'condition') return failsCondition(rule);
    if (miss === 'upgrade')
      return `rule ${rule.name} matches but for WebSocket: add websocket: true to its http`;
    if (miss === 'content')
      return `rule ${rule.name} matches but for its content: add contentOnGet: allow to its http`;
    if (miss === 'method')
      return (
        `rule ${rule.name} allows this path for ${methodsOf(rule)} alone; ` +
        `${shortMethod(request.method)} must be listed`
      );
  }
  return (
    `add an allow rule whose http has methods: [${shortMethod(request.method)}] and a path ` +
    'pattern for this path'
  );
}

function methodsOf({ http: { methods } }: HttpRule): string {
  return methods === undefined ? 'the common methods' : [...methods].join(', ');
}

export const HTTP_TERMS: RuleTerms<HttpRule, HttpFacts> = Object.freeze({
  isAbout: ruleMatches,
  words: requestInWords,
  hint: requestHint,
});
