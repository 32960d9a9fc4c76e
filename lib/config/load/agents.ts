/** The agents that a Sidecar document names, as values. */
import { join } from 'node:path';
import { soleAgent, type Agent } from '../../policy/model/agent.ts';
import type { SidecarDocument } from '../documents/schema.ts';

export interface AgentSpec extends Agent {
  /** undefined: it has no socket, and the operator opens its tasks. */
  readonly home: AgentHome | undefined;
}

/** Where the sockets of one agent lie. */
export interface AgentHome {
  /** Path of the agent API: in `folder`, or beside it in one of the operator's. */
  readonly socket: string;
  /** Of the other sockets; whoever may not use them may not enter it. */
  readonly folder: string;
  /** Whether the forward proxy listens there too. */
  readonly forward: boolean;
  /** Of the sockets, as bits. */
  readonly mode: number;
  /** Name or number; undefined: that of the sidecar. */
  readonly group: string | undefined;
}

type Spec = SidecarDocument['spec'];
type AgentDocument = NonNullable<Spec['agents']>[number];

export function compileAgents(
  name: string,
  { agents, agentApi, forward }: Spec,
): readonly AgentSpec[] {
  if (agents !== undefined) return Object.freeze(agents.map(compileAgent));
  const home = agentApi && {
    socket: agentApi.socket,
    folder: `${agentApi.socket}.d`,
    forward: forward !== undefined,
    mode: Number.parseInt(agentApi.mode, 8),
    group: undefined,
  };
  return Object.freeze([Object.freeze({ ...soleAgent(name), home: home && Object.freeze(home) })]);
}

function compileAgent({ name, folder, group, mode, purposes, identity }: AgentDocument): AgentSpec {
  const socket = join(folder, 'api.sock');
  const home = { socket, folder, forward: true, mode: Number.parseInt(mode, 8), group };
  return Object.freeze({
    name,
    purposes: purposes && new Set(purposes),
    identity,
    home: Object.freeze(home),
  });
}
