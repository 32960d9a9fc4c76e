/** An endpoint of an MCP server, as one agent sees it. */
import type { Turns } from '../base/turns.ts';
import type { DescribedHttp } from '../exchange/describe.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Held } from '../exchange/shares.ts';
import type { AgentTools, Definitions } from '../mcp/definitions.ts';
import { type Given, given } from '../mcp/given.ts';
import { type Ids, ids } from '../mcp/ids.ts';
import { type Owner, type Sessions, sessions } from '../mcp/sessions.ts';
import type { Agent } from '../policy/model/agent.ts';
import { matrixRow } from '../policy/protocols/index.ts';
import type { McpDestination, McpPolicy } from '../policy/protocols/mcp-service.ts';
import { needsIdentity } from '../upstream/shown-identity.ts';

/** Parts that all exchanges with MCP servers share. */
export interface McpParts {
  readonly definitions: Definitions;
  readonly sessions: Sessions;
  readonly given: Given;
  readonly ids: Ids;
  /** Reports in words what is left out of lists for its name. */
  readonly notice: (what: string) => void;
  /** In which long messages are read and written. */
  readonly turns: Turns;
  /** SPIFFE ID that we show now for an agent. */
  readonly identity: (agent: Agent | undefined) => string | undefined;
}

export function mcpParts(
  parts: Pick<McpParts, 'definitions' | 'turns' | 'identity'> & {
    readonly onNotice?: McpParts['notice'] | undefined;
  },
): McpParts {
  const { onNotice, ...rest } = parts;
  return {
    ...rest,
    sessions: sessions(),
    given: given(),
    ids: ids(),
    notice: once((what) => onNotice?.(what)),
  };
}

/** Different notices; more are not reported. */
const MAX_NOTICES = 1000;

function once(report: (what: string) => void): (what: string) => void {
  const reported = new Set<string>();
  return (what) => {
    if (reported.has(what) || reported.size >= MAX_NOTICES) return;
    reported.add(what);
    report(what);
  };
}

const METHODS: ReadonlySet<string> = new Set(['POST', 'GET', 'DELETE']);

/** True if a request is a message to an endpoint of this destination, and may be one. */
export function isMessage({ facts }: DescribedHttp, destination: McpDestination): boolean {
  const { listener, http } = facts;
  if (listener !== undefined && listener !== destination.name) return false;
  if (!destination.service.endpoints.has(http.path) || http.query !== '') return false;
  if (!METHODS.has(http.method)) return false;
  return matrixRow(facts, destination).outcome === 'request';
}

export interface McpEndpoint {
  readonly destination: McpDestination;
  readonly policy: McpPolicy;
  readonly parts: McpParts;
  readonly held: Held;
  readonly owner: Owner;
  /** The server's tools as its agent knows them. */
  readonly tools: AgentTools;
  /** In words: who was given what by whom. */
  readonly place: string;
}

export function mcpEndpoint(
  { facts }: DescribedHttp,
  destination: McpDestination,
  exchange: Exchange,
  parts: McpParts,
): McpEndpoint {
  const { name, service: policy } = destination;
  const { agent, entry, share, task } = exchange;
  const endpoint = facts.http.path;
  const identity = needsIdentity(destination) ? parts.identity(agent) : undefined;
  const owner = {
    agent: agent?.name,
    endpoint,
    entry,
    task: task?.id,
    destination: name,
    identity,
  };
  const to = `${endpoint} ${agent?.name ?? ''}`;
  return {
    destination,
    policy,
    parts,
    held: share.held,
    owner,
    tools: parts.definitions.of(destination, to),
    place: `${name} ${to}`,
  };
}
