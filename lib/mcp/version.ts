/** Version of the protocol that a message is in (MCP lifecycle and versioning). */
import { Fault } from '../base/fault.ts';
import type { Fields } from '../http/message.ts';
import {
  KNOWN_VERSIONS,
  MCP_VERSIONS,
  type McpVersion,
  isStateless,
} from '../policy/model/mcp-methods.ts';
import type { McpPolicy } from '../policy/protocols/mcp-service.ts';
import { mismatch, only } from './header-values.ts';
import { type Message, type Request, badParam } from './message.ts';
import { META_VERSION, metaOf } from './meta.ts';
import type { Session } from './sessions.ts';

export function versionOf(
  fields: Fields,
  message: Message | undefined,
  { policy, session }: Spoken,
): McpVersion {
  const field = only(fields, 'mcp-protocol-version');
  if (message?.kind === 'request' && message.method === 'initialize')
    return negotiated(message, policy);
  const repeated = metaOf(message)?.get(META_VERSION);
  if (repeated !== undefined && repeated !== field)
    throw mismatch('MCP-Protocol-Version is not the version in the body', 'mcp-protocol-version');
  // A session has the version that was negotiated; clients send another one that they know.
  const own = field === undefined || KNOWN_VERSIONS.includes(field) ? session?.version : undefined;
  const wanted = own ?? field ?? session?.version;
  const version = MCP_VERSIONS.find((one) => one === wanted);
  if (version === undefined || !policy.versions.has(version)) {
    const what =
      wanted === undefined
        ? 'MCP-Protocol-Version is missing'
        : 'the protocol version is not allowed here';
    throw unsupported(what, policy);
  }
  if (isStateless(version) && repeated === undefined && message?.kind === 'request')
    throw mismatch(
      `params._meta does not repeat the version (${META_VERSION})`,
      'mcp-protocol-version',
    );
  return version;
}

/**
 * The version of a handshake: the one that is asked for, or the newest that may be spoken
 * (2025-11-25, lifecycle).
 */
function negotiated({ params }: Request, policy: McpPolicy): McpVersion {
  const asked = params.get('protocolVersion');
  if (typeof asked !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(asked))
    throw badParam('protocolVersion', 'is no version of the protocol');
  const spoken = MCP_VERSIONS.filter((one) => policy.versions.has(one) && !isStateless(one));
  const version = spoken.find((one) => one === asked) ?? spoken.at(-1);
  if (version === undefined) throw unsupported('the protocol version is not allowed here', policy);
  return version;
}

function unsupported(what: string, { versions }: McpPolicy): Fault {
  const hint = `the versions that are allowed here are ${[...versions].join(', ')}`;
  return new Fault('unsupported-version', what, { hint, at: 'mcp-protocol-version' });
}

/** What decides the version: the policy of the destination, and the session. */
export interface Spoken {
  readonly policy: McpPolicy;
  readonly session: Session | undefined;
}
