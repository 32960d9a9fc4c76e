/**
 * What holds over the documents that have to do with tasks, as lib/config/checks/set.ts does for
 * the rest.
 */
import { placeText } from '../../schema/problem.ts';
import type { Tree } from '../../schema/tree.ts';
import type { SidecarDocument } from '../documents/schema.ts';
import { PROTOCOL_DOCUMENTS, isOfRequests } from '../documents/protocols.ts';
import type { DocumentSet } from '../documents/set.ts';
import type { Placed, SetCheck } from './set.ts';

export const TASK_CHECKS: readonly SetCheck[] = Object.freeze([
  {
    name: 'tasks-can-be-opened',
    doc:
      'Where a task is required somebody can open one: the Sidecar has `agents`, `agentApi` ' +
      'or `adminApi`, and there is a TaskPolicy.',
    find(set) {
      const { sidecar, sidecarBroken, destinations, taskPolicies } = set;
      const { agents, agentApi, adminApi, defaults } = sidecar?.document.spec ?? {};
      const door = agents !== undefined || agentApi !== undefined || adminApi !== undefined;
      if (sidecarBroken || (door && taskPolicies.length > 0)) return [];
      return destinations
        .filter(({ document }) => (document.spec.task ?? defaults?.task) === 'required')
        .map(({ tree }) => ({
          tree,
          steps: ['spec'],
          message:
            'a task is required here, and ' +
            `${door ? 'there is no TaskPolicy that would grant one' : 'nobody can open one'}`,
          fix:
            (door ? 'add a TaskPolicy document' : 'write agentApi in the Sidecar document') +
            ', or task: optional here or in its spec.defaults',
        }));
    },
  },
  {
    name: 'a-purpose-has-one-task-policy',
    doc: 'A purpose belongs to one TaskPolicy, so that it is plain which ceiling holds.',
    find({ taskPolicies }) {
      const seen = new Map<string, Tree>();
      return taskPolicies.flatMap(({ tree, document }) =>
        document.spec.purposes.flatMap((purpose, i): readonly Placed[] => {
          const other = seen.get(purpose);
          if (other === undefined) seen.set(purpose, tree);
          if (other === undefined || other === tree) return [];
          const message = `${purpose} is also a purpose of another TaskPolicy (${placeText(other.at)})`;
          return [
            { tree, steps: ['spec', 'purposes', i], message, fix: 'leave it to one of them' },
          ];
        }),
      );
    },
  },
  {
    name: 'task-policies-name-destinations',
    doc: '`destinations` of a TaskPolicy are names of Destination documents.',
    find({ taskPolicies, destinations }) {
      const names = new Set(destinations.map(({ document }) => document.metadata.name));
      return taskPolicies.flatMap(({ tree, document }) =>
        document.spec.destinations.flatMap((name, i) =>
          names.has(name)
            ? []
            : [
                {
                  tree,
                  steps: ['spec', 'destinations', i],
                  message: `there is no Destination ${name}`,
                  fix: `known are ${[...names].slice(0, 8).join(', ') || 'none'}`,
                },
              ],
        ),
      );
    },
  },
  {
    name: 'step-ups-can-be-answered',
    doc:
      'Each action has one step-up, and whoever approves is there: `adminApi` for an ' +
      'operator, `tasks.webhook` for a webhook.',
    find: (set) =>
      set.taskPolicies.flatMap(({ tree, document }) =>
        stepUpProblems(set, tree, document.spec.stepUp),
      ),
  },
  {
    name: 'what-is-approved-is-read',
    doc:
      'A step-up is of calls that are read whole: for tunnels, WebSockets and gRPC calls ' +
      'whose rule says `streaming: true` it says `bound: false` and `uncounted: true`.',
    find: ({ taskPolicies, destinations }) =>
      taskPolicies.flatMap(({ tree, document: { spec } }) =>
        spec.stepUp.flatMap(({ actions, bound, uncounted }, i): readonly Placed[] => {
          if (!bound && uncounted) return [];
          const unread = destinations
            .filter(({ document }) => spec.destinations.includes(document.metadata.name))
            .map(({ document }) => unreadIn(document, actions))
            .find((one) => one !== undefined);
          if (unread === undefined) return [];
          const fix = 'write bound: false and uncounted: true, or give it an action of its own';
          const message = `${unread}: nobody can be shown what would be approved, nor count it`;
          return [{ tree, steps: ['spec', 'stepUp', i], message, fix }];
        }),
      ),
  },
  {
    name: 'quotas-outlive-a-restart',
    doc:
      '`quotas` need a place where what was counted outlives a restart: `stateDir`, or the ' +
      'folder of `adminApi`.',
    find({ sidecar, taskPolicies }) {
      if (sidecar === undefined || !stateless(sidecar.document)) return [];
      const message = 'after a restart nobody would know what was counted';
      return taskPolicies
        .filter(({ document }) => document.spec.quotas !== undefined)
        .map(({ tree }) => ({ tree, steps: ['spec', 'quotas'], message, fix: NEEDS_STATE }));
    },
  },
]);

/** What of a destination has one of the actions and is never read. */
function unreadIn(
  { metadata, spec }: DocumentSet['destinations'][number]['document'],
  actions: readonly string[],
): string | undefined {
  const place = `destination ${metadata.name}`;
  if (!isOfRequests(spec)) {
    return actions.includes(spec.action)
      ? `action ${spec.action} is a connection at ${place}`
      : undefined;
  }
  const protocol = PROTOCOL_DOCUMENTS[spec.protocol];
  for (const rule of spec.rules) {
    const { action = '' } = rule;
    const what = actions.includes(action) ? protocol.unread(rule) : undefined;
    if (what !== undefined) return `action ${action} is ${what} by rule ${rule.name} of ${place}`;
  }
  return undefined;
}

type StepUps = DocumentSet['taskPolicies'][number]['document']['spec']['stepUp'];

function stepUpProblems({ sidecar }: DocumentSet, tree: Tree, stepUps: StepUps): readonly Placed[] {
  const seen = new Set<string>();
  const { adminApi, tasks } = sidecar?.document.spec ?? {};
  return stepUps.flatMap(({ actions, approvers }, i) => {
    const found: Placed[] = [];
    const add = (key: string, message: string, fix: string): void =>
      void found.push({ tree, steps: ['spec', 'stepUp', i, key], message, fix });
    for (const action of actions) {
      if (seen.has(action))
        add('actions', `${action} has a step-up already`, 'leave it to one of them');
      seen.add(action);
    }
    if (sidecar === undefined) return found;
    if (approvers.includes('operator') && adminApi === undefined)
      add(
        'approvers',
        'an operator has no door to approve at',
        'write adminApi in the Sidecar document',
      );
    if (approvers.includes('webhook') && tasks?.webhook === undefined)
      add('approvers', 'there is no webhook', 'write tasks.webhook in the Sidecar document');
    return found;
  });
}

/**
 * Nothing would be known after a restart, and an agent that can bring one about would wash its
 * history off.
 */
export function stateless({ spec }: SidecarDocument): boolean {
  return spec.stateDir === undefined && spec.adminApi === undefined;
}

export const NEEDS_STATE =
  'write stateDir in the Sidecar document: a folder of the sidecar alone that outlives it';
