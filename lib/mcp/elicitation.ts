/**
 * Where a server may send the user: elicitation by URL only to hosts that the policy names, and
 * only over https (MCP 2025-11-25, elicitation). What decides is looked for under its own name;
 * where it stands under one that differs in letter case, or is no object, nothing is passed on.
 */
import { parseAuthority } from '../net/authority.ts';
import type { HostPattern } from '../net/host.ts';
import { hasVariants, isObject, type Json, type JsonObject } from '../schema/json.ts';
import type { McpPolicy } from '../policy/protocols/mcp-service.ts';
import { byFold, misspelt } from './message.ts';

const HTTPS_PORT = 443;
const UNREADABLE = 'an elicitation that cannot be read';
const ELICITATION = byFold('mode url message requestedSchema elicitationId _meta');
const INPUT = byFold('method params');
const ERROR = byFold('code message data');
const DATA = byFold('elicitations');

/** Whether what decides in an object stands under its own name and no other. */
function isReadable(
  value: Json | undefined,
  deciding: ReadonlyMap<string, string>,
): value is JsonObject {
  return isObject(value) && !hasVariants(value) && misspelt(value, deciding) === undefined;
}

/** Why an elicitation is not passed on, or undefined. */
export function elicitationProblem(
  params: Json | undefined,
  { elicitationHosts }: McpPolicy,
): string | undefined {
  if (!isReadable(params, ELICITATION)) return UNREADABLE;
  const mode = params.get('mode') ?? 'form';
  const url = params.get('url');
  if (mode === 'form' && url === undefined) return undefined;
  const host = typeof url === 'string' ? hostOf(url) : undefined;
  if (mode !== 'url' || host === undefined) return UNREADABLE;
  return elicitationHosts.some((pattern) => isHost(pattern, host))
    ? undefined
    : 'an elicitation by URL to a host that is not allowed';
}

/** Why a request by the server inside a result (2026-07-28) is not passed on, or undefined. */
export function askedProblem(input: Json, policy: McpPolicy): string | undefined {
  if (!isReadable(input, INPUT)) return 'requests by the server that cannot be read';
  const method = input.get('method');
  const params = input.get('params');
  if (typeof method !== 'string' || !policy.serverRequests.has(method))
    return (
      'a request by the server that is not allowed: ' +
      `${typeof method === 'string' ? knownMethod(method) : 'none'}`
    );
  if (method === 'elicitation/create') return elicitationProblem(params, policy);
  return params === undefined || isObject(params)
    ? undefined
    : 'requests by the server that cannot be read';
}

/**
 * Why an error (2025-11-25: with URLs to which it sends the user) is not passed on, or undefined.
 */
export function elicitationsProblem(error: JsonObject, policy: McpPolicy): string | undefined {
  if (!isReadable(error, ERROR)) return 'an error that cannot be read';
  const data = error.get('data');
  if (!isObject(data)) return undefined;
  if (!isReadable(data, DATA)) return 'an error that cannot be read';
  const wanted = data.get('elicitations');
  if (wanted === undefined) return undefined;
  if (!Array.isArray(wanted)) return UNREADABLE;
  for (const one of wanted as readonly Json[]) {
    const problem = elicitationProblem(one, policy);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** A method's name where we know it: others are the server's own words. */
export function knownMethod(method: string): string {
  return /^(?:sampling|elicitation|roots|tasks)\/[a-zA-Z]{1,32}$/.test(method)
    ? method
    : 'one that is not known';
}

function isHost({ kind, host }: HostPattern, asked: string): boolean {
  return kind === 'wildcard' ? asked.endsWith(`.${host}`) : asked === host;
}

/** The canonical host of an https URL with the default port and no user information. */
function hostOf(url: string): string | undefined {
  const authority = /^https:\/\/([^/?#\\@\s]+)(?:[/?#][\x21-\x7e]*)?$/.exec(url)?.[1];
  if (authority === undefined) return undefined;
  try {
    const { host, port } = parseAuthority(authority, HTTPS_PORT);
    return port === HTTPS_PORT ? host : undefined;
  } catch {
    return undefined;
  }
}
