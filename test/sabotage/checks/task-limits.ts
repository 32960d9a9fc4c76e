/** What bounds a task, and who may lift it. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const limits = (title: string): ReturnType<typeof by> => by('test/tasks/limits.test.ts', title);
const doors = (title: string): ReturnType<typeof by> => by('test/api/agent.test.ts', title);

const EXTENDED = limits(
  'what must hold for a task to be opened holds for its whole time when it is extended',
);
const NARROWED = limits('a new policy narrows the approvals that stand, in time and in number');

const NAMED = by(
  'test/exchange/task-bounds.test.ts',
  'a task that named a host reaches that host alone, of all that its destination has',
);

const quota = (title: string): ReturnType<typeof by> => by('test/tasks/quotas.test.ts', title);
const TASKS_COUNTED = quota(
  'an agent opens so many tasks for a purpose in any span of that length, derived ones included',
);
const WRITTEN = quota(
  'what was written and cannot be read counts as all of it; what cannot be written is not acted upon',
);

const QUOTAS: readonly Sabotage[] = [
  sabotage(
    'tasks over a quota are not opened',
    'lib/tasks/registry.ts',
    ['if (spent !== undefined) throw quotaSpent(whose, spent);', ''],
    TASKS_COUNTED,
  ),
  sabotage(
    'calls over a quota are refused',
    'lib/policy/decision/grant.ts',
    ['if (counts && task.spent !== undefined) {', 'if (task.spent === null) {'],
    by(
      'test/exchange/task-bounds.test.ts',
      'over a quota a call is 429 with Retry-After, whatever task it is of, and the upstream sees nothing',
    ),
  ),
  sabotage(
    'the window of a quota slides',
    'lib/tasks/quotas.ts',
    [
      'window.forget(now - lasts);',
      'if (window.total >= quota.count) window.forget(now - lasts / 2);',
    ],
    TASKS_COUNTED,
  ),
  sabotage(
    'a count is written before it is acted upon',
    'lib/tasks/quotas.ts',
    ['    this.#write();\n  }', '    queueMicrotask(() => this.#write());\n  }'],
    WRITTEN,
  ),
  sabotage(
    'a count that cannot be read is no empty one',
    'lib/tasks/quotas.ts',
    ['if (unknown !== undefined && now - unknown < quota.per)', 'if (unknown === -1)'],
    WRITTEN,
  ),
  sabotage(
    'what is written ahead counts as made',
    'lib/tasks/quotas.ts',
    ['window.ahead === 0 ? made : [...made, [wall, window.ahead] as const]', 'made'],
    quota('a large quota is written down ahead of what is counted, and seldom'),
  ),
  sabotage(
    'conditions over the history need a place that outlives a restart',
    'lib/config/load/conditions.ts',
    ['if (stateless(sidecar.document)) refuseHistory(all, problems);', ''],
    by(
      'test/config/task-checks.test.ts',
      'a condition over what was done before does not load where a restart would forget it',
    ),
  ),
];

export const TASK_LIMITS: readonly Sabotage[] = [
  ...QUOTAS,
  sabotage(
    'hosts that were named are held against a call',
    'lib/policy/decision/grant.ts',
    [
      'reaches(one, call.host, call.port)) === false)',
      'reaches(one, call.host, call.port)) === null)',
    ],
    NAMED,
  ),
  sabotage(
    'a port that was named is held against a call',
    'lib/policy/model/targets.ts',
    ['if (target.port !== undefined && target.port !== port) return false;', ''],
    NAMED,
  ),
  sabotage(
    'a derived task has no hosts that its parent has not',
    'lib/tasks/attenuate.ts',
    ['const left = meetAll(hosts, ceiling.hosts?.get(destination.name));', 'const left = hosts;'],
    by(
      'test/tasks/attenuate.test.ts',
      'a target that names a host grants that host alone, and a derived task no more of it',
    ),
  ),
  sabotage(
    'what uses a task does not lift its limits',
    'lib/api/agent.ts',
    [
      "if (may !== 'use' && !control) throw",
      "if (may === 'use' && !control && may !== 'use') throw",
    ],
    doors(
      'what uses a task sees it and asks for step-ups, and does not extend, derive from or complete it',
    ),
  ),
  sabotage(
    'a derived task does not extend itself',
    'lib/api/agent.ts',
    ["may === 'extend' && found === own", "may !== 'extend' && found === own"],
    doors(
      'a derived task is extended by what it was derived from, and by the operator, and not by itself',
    ),
  ),
  sabotage(
    'the condition of a TaskPolicy holds when a task is extended',
    'lib/tasks/opening.ts',
    ['rule && conditionObjects(rule, factsOf(task, asked, clock.now()))', 'undefined'],
    EXTENDED,
  ),
  sabotage(
    'a part of a second counts against a limit in seconds',
    'lib/policy/conditions/intent-scope.ts',
    ['Math.ceil(lifetime / 1000)', 'Math.floor(lifetime / 1000)'],
    EXTENDED,
  ),
  sabotage(
    'the condition of a TaskPolicy holds after a reload',
    'lib/tasks/registry.ts',
    [
      'return conditionObjects(rule, factsOf(task, task.lifetime, this.#options.clock.now()));',
      'return undefined;',
    ],
    limits(
      'a new policy revokes what its condition would not open, over what is left of the grant',
    ),
  ),
  sabotage(
    'a reload holds the number of open tasks',
    'lib/tasks/opening.ts',
    ['if (under > rule.maxOpenTasks) return', 'if (under > Infinity) return'],
    limits(
      'a new policy that lets fewer tasks be open under one ends those that were derived last',
    ),
  ),
  sabotage(
    'a reload shortens the approvals that stand',
    'lib/tasks/task.ts',
    ['Math.min(held.until, held.at + (rule?.ttl ?? 0))', 'held.until'],
    NARROWED,
  ),
  sabotage(
    'a reload lowers the number of calls of the approvals that stand',
    'lib/tasks/task.ts',
    ['Math.min(held.callsLeft, (rule?.maxCalls ?? 0) - held.spent)', 'held.callsLeft'],
    NARROWED,
  ),
  sabotage(
    'a call that is decided again counts the calls before it',
    'lib/tasks/task.ts',
    ['? this.#spent() : claim.before', '? this.#spent() : 0'],
    limits(
      'a call that is decided again counts the calls before it, as it did when it was decided first',
    ),
  ),
  sabotage(
    'a history of its own begins with that of the session',
    'lib/tasks/agents.ts',
    ['isolated ? session.copy() : session', 'isolated ? history() : session'],
    limits('a history of its own begins with what the session has done, and does not flow back'),
  ),
];
