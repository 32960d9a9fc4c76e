/**
 * Whether a rule is about a request. Allow and deny read an omitted key differently, each the safe way: a deny rule without methods is about every
 * method there is, an allow rule without methods about the common ones alone; an upgrade to WebSocket needs an allow rule that says so.
 */
import type { HttpFacts } from './facts.ts';
import type { HttpMatch, Rule } from './model.ts';

/** What an allow rule without `methods` stands for (RFC 9110 section 9.3 without CONNECT and TRACE, RFC 5789). */
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
  return methodMatches(rule, http, request) && pathMatches(http, request) && upgradeMatches(rule, http, request);
}

/** Which part of an allow rule kept it from matching, when the others do; its condition is looked at last. */
export type NearMiss = 'method' | 'upgrade' | 'condition' | undefined;

export function nearMiss(rule: Rule, request: HttpFacts): NearMiss {
  const { http } = rule;
  if (rule.effect !== 'allow' || http === undefined || !pathMatches(http, request)) return undefined;
  if (!methodMatches(rule, http, request)) return 'method';
  if (!upgradeMatches(rule, http, request)) return 'upgrade';
  return rule.when === undefined ? undefined : 'condition';
}

function methodMatches({ effect }: Rule, { methods }: HttpMatch, { method }: HttpFacts): boolean {
  if (methods !== undefined) return methods.has(method);
  return effect === 'deny' || COMMON_METHODS.has(method);
}

function pathMatches({ paths }: HttpMatch, { path }: HttpFacts): boolean {
  return paths === undefined || paths.some((pattern) => pattern.matches(path));
}

function upgradeMatches({ effect }: Rule, { websocket }: HttpMatch, request: HttpFacts): boolean {
  return !request.websocket || websocket || effect === 'deny';
}
