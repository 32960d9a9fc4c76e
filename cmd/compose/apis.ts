/** The APIs of tasks put together: one for each agent, and the operator's. */
import { agentHome, forwardSocket } from '../../lib/api/agent-folder.ts';
import { AGENT_TCP, startAgentApi } from '../../lib/api/agent-socket.ts';
import { agentApi } from '../../lib/api/agent.ts';
import type { ToolPins } from '../../lib/api/admin.ts';
import { operatorApi } from '../../lib/api/operator.ts';
import type { Pages } from '../../lib/api/pages.ts';
import type { Ways } from '../../lib/api/task-view.ts';
import type { Disposer } from '../../lib/base/dispose.ts';
import { agentSocketName } from '../../lib/listen/inherited.ts';
import type { Proxy } from '../../lib/listen/proxy.ts';
import { formatAuthority } from '../../lib/net/authority.ts';
import type { Agent } from '../../lib/policy/model/agent.ts';
import type { Foundation } from './foundation.ts';
import { openAdmin } from './pages.ts';
import type { Parts, Services } from './parts.ts';
import { statusOf } from './status.ts';

export interface Apis {
  /** What listens for agents and for the operator. */
  readonly pages: readonly Pages[];
  /** Settles when the operator asked for an end. */
  readonly quit: Promise<void>;
}

interface Around {
  readonly foundation: Foundation;
  readonly services: Services;
  readonly opened: Disposer;
}

export async function openApis(around: Around): Promise<Apis> {
  const { foundation, services, opened } = around;
  const { parts, inherited, addresses } = foundation;
  const { tasks, feed, proxy } = services;
  const homes: Homes = new Map();
  const ways = waysThrough(proxy, homes);
  const agents = await openAgentApis(around, homes, ways);
  const quit = Promise.withResolvers<void>();
  const operators = await openAdmin(parts.config.sidecar, {
    status: () => statusOf(services, parts, addresses),
    quit: quit.resolve,
    tools: toolPins(proxy, parts),
    api: operatorApi({ tasks, ways, feed }),
    inherited,
    opened,
  });
  return { pages: [...agents, ...operators], quit: quit.promise };
}

/** Of the agents that have a folder. */
type Homes = Map<Agent, Home>;

interface Home {
  /** Path of the forward proxy in it. */
  readonly forward: string | undefined;
  /** Folder of the sockets of tasks. */
  readonly tasks: string;
  readonly mode: number;
}

function waysThrough(proxy: Proxy, homes: Homes): Ways {
  return {
    proxy() {
      const bound = proxy.addresses.get('forward');
      return bound === undefined ? undefined : formatAuthority(bound.address, bound.port);
    },
    forward: ({ agent }) => homes.get(agent)?.forward,
    async sockets(task) {
      const home = homes.get(task.agent);
      return home === undefined
        ? {}
        : proxy.taskSockets(task, { folder: home.tasks, mode: home.mode });
    },
  };
}

async function openAgentApis(
  { foundation: { parts, inherited }, services: { tasks, feed, proxy }, opened }: Around,
  homes: Homes,
  ways: Ways,
): Promise<readonly Pages[]> {
  const { sidecar } = parts.config;
  const pages: Pages[] = [];
  const tcp = sidecar.agentApi?.tcp && {
    ...sidecar.agentApi.tcp,
    fd: inherited.take({ name: AGENT_TCP, ...sidecar.agentApi.tcp.address }),
  };
  for (const agent of sidecar.agents) {
    const { home } = agent;
    if (home === undefined) continue;
    const fd = inherited.take({ name: agentSocketName(agent, 'api'), path: home.socket });
    const path = forwardSocket(home);
    const forward = home.forward
      ? inherited.take({ name: agentSocketName(agent, 'forward'), path })
      : undefined;
    const shared = { api: fd !== undefined, forward: forward !== undefined };
    const made = opened.use(await agentHome(home, shared));
    homes.set(agent, {
      forward: home.forward ? path : undefined,
      tasks: made.tasks,
      mode: home.mode,
    });
    if (home.forward) await proxy.openForward(agent, { path, mode: home.mode, fd: forward });
    const api = agentApi({ agent, tasks, ways, feed });
    const onDropped = (): void => parts.drops.count(`API of ${agent.name}`);
    const limits = { connections: parts.budget.api, onDropped };
    pages.push(opened.use(await startAgentApi({ ...home, fd, ...limits, tcp, api })));
  }
  return pages;
}

/** An approval is the operator's word, and stands in the evidence. */
function toolPins({ definitions }: Proxy, { recordEvent }: Parts): ToolPins {
  return {
    pins: () => definitions.pins(),
    approve(destination, tool, digest) {
      definitions.approve(destination, tool, digest);
      recordEvent('definition-approved', { destination, tool, digest });
    },
  };
}
