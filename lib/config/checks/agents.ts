/** What holds over `agents`, `agentApi` and the documents that name agents. */
import { dirname, join } from 'node:path';
import { isLoopback } from '../../net/ip.ts';
import type { Step } from '../../schema/tree.ts';
import { MAX_SOCKET } from '../documents/scalars.ts';
import type { SidecarDocument } from '../documents/schema.ts';
import type { DocumentSet } from '../documents/set.ts';
import type { Placed, SetCheck } from './set.ts';

type Spec = SidecarDocument['spec'];

/** Room for the number of a task in the path of its sockets. */
const TASK_NUMBER = '/tasks/zzzzzz/';

export const AGENT_CHECKS: readonly SetCheck[] = Object.freeze([
  {
    name: 'the-doors-are-apart',
    doc:
      'Each agent, `adminApi`, `stateDir` and `intercept.ca.folder` have folders of their ' +
      'own, none below another; `agentApi.tcp` is on loopback.',
    find: (set) => ofSidecar(set, (spec) => [...notApart(spec), ...tcpIsOpen(spec)]),
  },
  {
    name: 'one-form-of-agents',
    doc: '`agentApi` is the short form of `agents` for one agent: a document has one of them.',
    find: (set) =>
      ofSidecar(set, ({ agents, agentApi }) =>
        agents === undefined || agentApi === undefined
          ? []
          : [
              found(
                ['agentApi'],
                'agents is there too, and each of them has its own socket',
                agentApi.tcp === undefined
                  ? 'remove agentApi'
                  : 'remove agentApi: a port tells agents apart by nothing, so tcp is for ' +
                      'one agent alone',
              ),
            ],
      ),
  },
  {
    name: 'all-agents-have-an-identity-or-none-has',
    doc: 'Where one of `agents` has an `identity` all of them have: none goes out as another.',
    find: (set) =>
      ofSidecar(set, ({ agents = [] }) =>
        agents.some(({ identity }) => identity !== undefined)
          ? agents.flatMap(({ name, identity }, i) =>
              identity === undefined
                ? [
                    found(
                      ['agents', i],
                      `agent ${name} has no identity, and others have`,
                      'write identity: { hint: ... } or { spiffeId: ... } here too',
                    ),
                  ]
                : [],
            )
          : [],
      ),
  },
  {
    name: 'task-policies-name-agents',
    doc:
      '`agents` of a TaskPolicy are names of agents of the Sidecar, and `purposes` of an ' +
      'agent are those of a TaskPolicy that lets it.',
    find: (set) => [...unknownAgents(set), ...unknownPurposes(set)],
  },
  {
    name: 'sockets-of-tasks-fit',
    doc:
      'The paths of the sockets of tasks, which lie in the folder of their agent, are no ' +
      'longer than a Unix socket can have them.',
    find: (set) =>
      ofSidecar(set, (spec) =>
        homes(spec).flatMap(({ folder, steps }) => {
          const long = set.destinations
            .filter(({ document }) => document.spec.listen !== undefined)
            .map(({ document }) => document.metadata.name)
            .find((name) => Buffer.byteLength(`${folder}${TASK_NUMBER}${name}.sock`) > MAX_SOCKET);
          if (long === undefined) return [];
          const message =
            `the path of a task’s socket for destination ${long} would be longer than ` +
            `${MAX_SOCKET} bytes`;
          return [
            found(steps, message, 'use a shorter folder, or a shorter name for the destination'),
          ];
        }),
      ),
  },
]);

type Found = Omit<Placed, 'tree'>;

function ofSidecar(
  { sidecar }: DocumentSet,
  find: (spec: Spec) => readonly Found[],
): readonly Placed[] {
  if (sidecar === undefined) return [];
  return find(sidecar.document.spec).map((one) => ({ tree: sidecar.tree, ...one }));
}

function found(steps: readonly Step[], message: string, fix: string): Found {
  return { steps: ['spec', ...steps], message, fix };
}

interface Home {
  readonly whose: string;
  readonly folder: string;
  readonly steps: readonly Step[];
}

/** Where the sockets of tasks lie. */
function homes({ agents = [], agentApi }: Spec): readonly Home[] {
  const own = agents.map(({ name, folder }, i) => ({
    whose: `agent ${name}`,
    folder,
    steps: ['agents', i, 'folder'],
  }));
  if (agentApi === undefined) return own;
  return [
    ...own,
    { whose: 'the agent', folder: `${agentApi.socket}.d`, steps: ['agentApi', 'socket'] },
  ];
}

function notApart(spec: Spec): readonly Found[] {
  const { agentApi, adminApi, stateDir, intercept } = spec;
  const own = homes(spec).map((home) =>
    agentApi !== undefined && home.steps[0] === 'agentApi'
      ? { ...home, folder: dirname(agentApi.socket) }
      : home,
  );
  const closed: readonly Home[] = [
    ...(adminApi === undefined
      ? []
      : [
          {
            whose: 'the operator’s door',
            folder: dirname(adminApi.socket),
            steps: ['adminApi', 'socket'],
          },
        ]),
    ...(stateDir === undefined
      ? []
      : [{ whose: 'what the sidecar keeps', folder: join(stateDir), steps: ['stateDir'] }]),
    ...(intercept?.ca.folder === undefined
      ? []
      : [
          {
            whose: 'the key of the interception CA',
            folder: join(intercept.ca.folder),
            steps: ['intercept', 'ca'],
          },
        ]),
  ];
  return own.flatMap((home, i) => {
    const other = [...closed, ...own.slice(0, i)].find(({ folder }) => nested(folder, home.folder));
    if (other === undefined) return [];
    const message = `${home.whose} would reach ${other.whose}, whose folder is the same or below or above`;
    return [
      found(
        home.steps,
        message,
        'write folders side by side, such as /run/chaperone/agent and /run/chaperone/admin',
      ),
    ];
  });
}

function tcpIsOpen({ agentApi }: Spec): readonly Found[] {
  if (agentApi?.tcp === undefined || isLoopback(agentApi.tcp.address.host)) return [];
  const steps = ['agentApi', 'tcp', 'address'];
  return [
    found(steps, 'others than the agent could reach this address', 'listen on 127.0.0.1 or [::1]'),
  ];
}

function unknownAgents({ sidecar, taskPolicies }: DocumentSet): readonly Placed[] {
  if (sidecar === undefined) return [];
  const { agents } = sidecar.document.spec;
  const known = agents?.map(({ name }) => name) ?? [sidecar.document.metadata.name];
  return taskPolicies.flatMap(({ tree, document }) =>
    (document.spec.agents ?? []).flatMap((name, i) =>
      known.includes(name)
        ? []
        : [
            {
              tree,
              steps: ['spec', 'agents', i],
              message: `the Sidecar document has no agent ${name}`,
              fix: `known are ${known.join(', ')}`,
            },
          ],
    ),
  );
}

function unknownPurposes(set: DocumentSet): readonly Placed[] {
  return ofSidecar(set, ({ agents = [] }) =>
    agents.flatMap(({ name, purposes = [] }, i) =>
      purposes.flatMap((purpose, j) => {
        const policy = set.taskPolicies.find(({ document }) =>
          document.spec.purposes.includes(purpose),
        );
        const lets = policy?.document.spec.agents?.includes(name) !== false;
        if (policy !== undefined && lets) return [];
        const message =
          policy === undefined
            ? `${purpose} is no purpose of a TaskPolicy`
            : `task policy ${policy.document.metadata.name}, which has purpose ${purpose}, ` +
              `does not let agent ${name}`;
        return [
          found(['agents', i, 'purposes', j], message, 'correct one of them, or remove it here'),
        ];
      }),
    ),
  );
}

function nested(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}
