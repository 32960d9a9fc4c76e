/** `spec` of a TaskPolicy document: the most that tasks of some purposes may be granted. */
import {
  choice,
  defaulted,
  flag,
  integer,
  list,
  optional,
  record,
  refine,
  required,
} from '../../schema/decode.ts';
import { action, condition, dataClass, duration, name, person, rate, size } from './scalars.ts';

const actions = (least: 0 | 1): ReturnType<typeof list<string>> =>
  list(action, { least, most: 64, unique: String });

const maxBody = refine(size('64KiB', 1024), (bytes) =>
  bytes > 1_048_576
    ? { message: 'more than 1MiB would be held for each call', fix: 'write at most 1MiB' }
    : { value: bytes },
);

const stepUp = record({
  actions: required(
    actions(1),
    'Actions that wait for an approval, besides those in `actions` that do not.',
  ),
  approvers: defaulted(
    list(choice(['operator', 'webhook', 'policy']), { least: 1, most: 3, unique: String }),
    ['operator'],
    'Who may approve. operator: over the admin API. webhook: what `tasks.webhook` of the ' +
      'Sidecar answers. policy: asking is enough, and leaves its record.',
  ),
  ttl: defaulted(duration('60s'), '60s', 'How long an approval is good for, at the most.'),
  maxCalls: defaulted(integer(1, 1_000_000), 1, 'For how many calls.'),
  uncounted: defaulted(
    flag(),
    false,
    'true: for any number of calls within `ttl`, and the only approval, with `bound: ' +
      'false`, of things in which no calls are counted: tunnels, WebSockets, streaming gRPC ' +
      'calls, content longer than `maxBody`.',
  ),
  bound: defaulted(
    flag(),
    true,
    'An approval is for the call that was shown and no other: of an MCP message its method ' +
      'and parameters, of a request its method, path, query, header fields and content, of a ' +
      'unary gRPC call its metadata and message. false: for any call of the same rule.',
  ),
  maxBody: defaulted(
    maxBody,
    '64KiB',
    'Content of up to this is read whole before such a call is refused, and again when it ' +
      'is made. A call with more is not approved, but for `bound: false` with ' +
      '`uncounted: true`.',
  ),
});

export const taskPolicySpec = record({
  purposes: required(
    list(name, { least: 1, most: 1000, unique: String }),
    'What tasks are opened for. A purpose belongs to one TaskPolicy.',
  ),
  owners: optional(
    list(person, { least: 1, most: 10_000, unique: String }),
    'Who may own such a task, or have it done on their behalf; anyone without it. The ' +
      'agent says who: it is a claim of the agent and not a proof.',
  ),
  agents: optional(
    list(name, { least: 1, most: 64, unique: String }),
    'Agents that may open such a task (`agents` of the Sidecar); all of them without it.',
  ),
  destinations: required(
    list(name, { least: 1, most: 10_000, unique: String }),
    'Names of Destination documents.',
  ),
  actions: defaulted(actions(0), [], 'Actions that need no approval.'),
  dataClasses: required(
    list(dataClass, { least: 1, most: 64, unique: String }),
    'Data classes that may be touched: those of the destinations.',
  ),
  lifetime: defaulted(duration('15m'), '15m', 'How long a task may last, extensions included.'),
  maxCalls: defaulted(integer(1, 1_000_000_000), 10_000, 'Calls that a task may make.'),
  maxOpenTasks: defaulted(
    integer(1, 10_000),
    64,
    'Tasks that may be open under one that was opened, itself counted.',
  ),
  quotas: optional(
    record({
      tasks: optional(
        rate,
        'Tasks that an agent may open for one of the purposes, derived ones included: `20/h`.',
      ),
      calls: optional(
        rate,
        'Calls that an agent may make for one of the purposes, in all its tasks together: `500/h`.',
      ),
    }),
    'How much an agent may do for one of the purposes, over all its tasks: so many in any ' +
      'span of that length. What is over is refused with 429 until it is time. Needs ' +
      '`stateDir` or `adminApi` in the Sidecar.',
  ),
  depth: defaulted(
    integer(0, 8),
    0,
    'How deep tasks may be derived for sub-agents; 0 is not at all.',
  ),
  isolated: defaulted(
    flag(),
    false,
    'true: a task may ask for a history of its own, which later tasks do not inherit. Only ' +
      'for work that cannot reach the rest of the session.',
  ),
  when: optional(
    condition,
    'What must hold for a task to be opened, in CEL over `intent`: see ' +
      '[conditions.md](conditions.md). Where it cannot be evaluated none is opened.',
  ),
  stepUp: defaulted(list(stepUp, { most: 64 }), [], 'What needs an approval first.'),
});
