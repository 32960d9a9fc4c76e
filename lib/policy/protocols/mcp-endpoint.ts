/**
 * What of a request beside the endpoints of an MCP server could be a message to one of them after
 * all: its path may be another spelling of an endpoint, or lie below one, to a server that folds
 * case, drops `;…`, undoes escapes twice or resolves what is left; or its fields are those of a
 * message (Streamable HTTP). Neither is for rules about HTTP: such a message would not be judged.
 */
import type { Fields } from '../../http/message.ts';
import { spellingsOf } from '../../net/path-spellings.ts';
import type { HttpFacts } from '../model/facts.ts';

/** Methods that carry no message of their own. */
const BARE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Whether a server could take the path for one of the endpoints, or for something below it. */
export function reachesEndpoint(endpoints: Iterable<string>, path: string): boolean {
  const spellings = spellingsOf(path);
  if (spellings === undefined) return true;
  for (const endpoint of endpoints) {
    const [whole = ''] = spellingsOf(endpoint) ?? [];
    const below = whole === '/' ? whole : `${whole}/`;
    if (spellings.some((one) => one === whole || one.startsWith(below))) return true;
  }
  return false;
}

/**
 * Whether a request has what only a message of MCP has: `Mcp-…`, or the wish for a stream of
 * events.
 */
export function isMcpLike({ method, fields }: Pick<HttpFacts, 'method' | 'fields'>): boolean {
  return !BARE.has(method) && (hasMcpField(fields) || wantsEvents(fields));
}

function hasMcpField(fields: Fields): boolean {
  for (let i = 0; i < fields.length; i += 2) if (/^mcp[-_]/i.test(fields[i] ?? '')) return true;
  return false;
}

function wantsEvents(fields: Fields): boolean {
  for (let i = 0; i < fields.length; i += 2)
    if (fields[i] === 'accept' && /text\s*\/\s*event-stream/i.test(fields[i + 1] ?? ''))
      return true;
  return false;
}
