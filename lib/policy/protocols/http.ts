/**
 * Whether a rule is about a request. Allow and deny read an omitted key differently, each the safe
 * way: a deny rule without methods is about every method there is, an allow rule without methods
 * about the common ones alone; an upgrade to WebSocket, and content on a GET, need an allow rule
 * that says so.
 */
import type { HttpFacts } from '../model/facts.ts';
import type { HttpMatch, Rule } from '../model/rule.ts';

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
export function ruleMatches(rule: Rule, request: HttpFacts): boolean {
  const { effect, http } = rule;
  if (http === undefined) return effect === 'deny';
  return (
    methodMatches(rule, http, request) &&
    pathMatches(rule, http, request) &&
    upgradeMatches(rule, http, request) &&
    contentMatches(rule, http, request)
  );
}

/** The first part of a rule about HTTP that keeps it from matching. */
export function httpMismatch(
  rule: Rule,
  request: HttpFacts,
): 'method' | 'path' | 'upgrade' | 'content' | undefined {
  const { http } = rule;
  if (http === undefined) return undefined;
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

export function nearMiss(rule: Rule, request: HttpFacts): NearMiss {
  if (rule.effect !== 'allow' || rule.http === undefined) return undefined;
  const part = httpMismatch(rule, request);
  if (part === 'path') return undefined;
  return part ?? (rule.when === undefined ? undefined : 'condition');
}

function methodMatches({ effect }: Rule, { methods }: HttpMatch, { method }: HttpFacts): boolean {
  if (methods !== undefined) return methods.has(method);
  return effect === 'deny' || COMMON_METHODS.has(method);
}

/** A deny rule is about what a server may make of the path, too. */
function pathMatches({ effect }: Rule, { paths }: HttpMatch, { path }: HttpFacts): boolean {
  if (paths === undefined) return true;
  return effect === 'deny'
    ? paths.some((pattern) => pattern.denies(path))
    : paths.some((pattern) => pattern.matches(path));
}

function upgradeMatches({ effect }: Rule, { websocket }: HttpMatch, request: HttpFacts): boolean {
  return !request.websocket || websocket || effect === 'deny';
}

function contentMatches(
  { effect }: Rule,
  { contentOnGet }: HttpMatch,
  request: HttpFacts,
): boolean {
  return !hasContentOnGet(request) || contentOnGet === true || effect === 'deny';
}

export function hasContentOnGet({ method, empty }: HttpFacts): boolean {
  return method === 'GET' && empty === false;
}
