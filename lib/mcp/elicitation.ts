/** Where a server may send the user: elicitation by URL only to hosts that the policy names, and only over https (MCP 2025-11-25, elicitation). */
import { parseAuthority } from '../policy/authority.ts';
import type { HostPattern } from '../policy/host.ts';
import { hasVariants, type JsonObject } from '../policy/json.ts';
import type { McpPolicy } from '../policy/model.ts';

const HTTPS_PORT = 443;

/** Why an elicitation is not passed on, or undefined. */
export function elicitationProblem(params: JsonObject, { elicitationHosts }: McpPolicy): string | undefined {
  if (hasVariants(params)) return 'an elicitation that cannot be read';
  const mode = params.get('mode') ?? 'form';
  const url = params.get('url');
  if (mode === 'form' && url === undefined) return undefined;
  const host = typeof url === 'string' ? hostOf(url) : undefined;
  if (mode !== 'url' || host === undefined) return 'an elicitation that cannot be read';
  return elicitationHosts.some((pattern) => isHost(pattern, host))
    ? undefined
    : 'an elicitation by URL to a host that is not allowed';
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
