/** Tasks: who is believed to be one, what it may do, and that nothing outlives it. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const registry = (title: string): ReturnType<typeof by> => by('test/tasks/registry.test.ts', title);
const stepUps = (title: string): ReturnType<typeof by> => by('test/tasks/approvals.test.ts', title);
const doors = (title: string): ReturnType<typeof by> => by('test/api/agent.test.ts', title);
const agents = (title: string): ReturnType<typeof by> =>
  by('test/scenarios/tells-two-agents-apart.test.ts', title);
const flows = (title: string): ReturnType<typeof by> =>
  by('test/exchange/task-flows.test.ts', title);
const ends = (title: string): ReturnType<typeof by> => by('test/exchange/task-ends.test.ts', title);
const proxied = (title: string): ReturnType<typeof by> => by('test/exchange/tasks.test.ts', title);

const DEAD = attack('tasks', 'G2 a task that has ended, is not that of the secret, or is none');
const BOUND = proxied('a local listener takes a task by a socket of its own, which goes with it');
const UNGRANTED = by(
  'test/policy/grant.test.ts',
  'destination, class of data and action are each held against the grant, by themselves',
);
const UNAPPROVED = attack(
  'tasks',
  'G4 an action that waits for an approval, with none or with that of another destination or another rule',
);
const NARROWED = registry(
  'a new policy narrows what is open, and revokes what has no purpose any more',
);
const DERIVED = registry(
  'what is derived has the purpose and the owner of its parent, and no more depth or number than the policy has',
);
const CUT = registry(
  'a task ends when its time is over by either clock, and what is under way is cut',
);
const CEILING = by(
  'test/tasks/attenuate.test.ts',
  'a grant is the intent cut to the ceiling, and what is refused is named with its reason',
);
const TOKENS = proxied('each task has tokens of its own, which are forgotten with it');
const TAKEN_BACK = stepUps(
  'what the policy no longer lets anybody approve is not approved, and what was approved so is taken back',
);

const IDENTIFIED: readonly Sabotage[] = [
  sabotage(
    'the secret of a task is compared',
    'lib/tasks/secret.ts',
    [
      'return timingSafeEqual(digestOf(secret), digest);',
      'return timingSafeEqual(digestOf(secret), digestOf(secret)) || digest.length > 0;',
    ],
    registry('a task is proved by its secret alone, while it is open'),
    DEAD,
  ),
  sabotage(
    'the secret of a task that has ended is worth nothing',
    'lib/tasks/registry.ts',
    ['if (task?.open === true) return task;', 'if (task !== undefined) return task;'],
    registry('a task is proved by its secret alone, while it is open'),
  ),
  sabotage(
    'credentials of another form are not taken for none',
    'lib/tasks/secret.ts',
    ['if (colon > 0 && TASK.test(task) && SECRET.test(secret)) return', 'return'],
    by(
      'test/tasks/secret.test.ts',
      'credentials of any other form are refused, never taken for none',
    ),
  ),
  sabotage(
    'the socket of one task takes no credentials of another',
    'lib/exchange/handle.ts',
    [
      'if (own && named?.open === true && (bound === undefined || bound === named)) return named;',
      'if (own && named?.open === true) return named;',
    ],
    BOUND,
  ),
  sabotage(
    'two references to tasks at once are none',
    'lib/exchange/headers.ts',
    ['if (found !== undefined) throw repeated(CREDENTIALS);', ''],
    attack('tasks', 'G2 two references at once'),
  ),
  sabotage(
    'the secret of another agent’s task is worth nothing on a socket of this one',
    'lib/exchange/handle.ts',
    ['const own = agent === undefined || agent === named?.agent;', 'const own = true;'],
    agents('what comes by the forward socket of an agent is its own, and takes no task of another'),
  ),
  sabotage(
    'the API of one agent takes no credentials of another',
    'lib/api/agent.ts',
    ['found.task.agent === agent', 'found.task.open'],
    agents('the API of an agent neither opens, shows nor ends what is another’s'),
  ),
  sabotage(
    'an agent opens tasks that its policy lets it open',
    'lib/tasks/agents.ts',
    [
      'return agents?.has(name) !== false && purposes?.has(purpose) !== false;',
      'return name !== purpose;',
    ],
    registry(
      'an agent opens tasks of its own purposes where the policy lets it, and a reload takes them back',
    ),
  ),
  sabotage(
    'the folder of an agent is closed to others',
    'lib/api/agent-folder.ts',
    ['  await chmod(folder, folderMode(mode));', '  await chmod(folder, 0o755);'],
    by(
      'test/api/agent-folder.test.ts',
      'the folder is made, closed to others, and what a process left of its tasks is gone',
    ),
  ),
  sabotage(
    'a folder of somebody else holds no sockets',
    'lib/api/agent-folder.ts',
    ['found.uid !== owner', 'found.uid < 0'],
    by('test/api/agent-folder.test.ts', 'a folder that is somebody else’s, or none, is refused'),
  ),
  sabotage(
    'an MCP session belongs to its task',
    'lib/mcp/sessions.ts',
    [' && one.task === other.task', ''],
    flows('an MCP session of one task is unknown to another, and to none (M13)'),
  ),
  sabotage(
    'a token belongs to its task',
    'lib/credentials/jwt-svid.ts',
    ['JSON.stringify([spiffeId, task, audience])', 'JSON.stringify([spiffeId, audience])'],
    TOKENS,
  ),
  sabotage(
    'a connection that carried a token of a task belongs to it',
    'lib/upstream/pool-key.ts',
    ["`|${identity?.svid.id ?? ''}|${task ?? ''}`", "`|${identity?.svid.id ?? ''}|`"],
    TOKENS,
  ),
  sabotage(
    'connections of a task that has ended are closed',
    'lib/upstream/pools.ts',
    ['pools.retire((key) => key.task !== task)', 'pools.retire((key) => key.task !== `${task}x`)'],
    TOKENS,
  ),
];

const GRANTED: readonly Sabotage[] = [
  sabotage(
    'a destination that requires a task is not served without one',
    'lib/policy/decision/task.ts',
    [
      "if (destination.task === 'optional') return FREE;",
      'if (destination.name.length > 0) return FREE;',
    ],
    attack('tasks', 'G1 a destination that requires a task is asked without one'),
  ),
  sabotage(
    'a grant names its destinations',
    'lib/policy/decision/grant.ts',
    ['if (!grant.destinations.has(destination.name))', 'if (grant.destinations.size === 0)'],
    UNGRANTED,
  ),
  sabotage(
    'a grant names its classes of data',
    'lib/policy/decision/grant.ts',
    ['if (!grant.dataClasses.has(destination.dataClass))', 'if (grant.dataClasses.size === 0)'],
    UNGRANTED,
  ),
  sabotage(
    'a grant names its actions',
    'lib/policy/decision/grant.ts',
    [
      "if (grant.actions.has(action)) return { code: 'granted'",
      "if (action !== '') return { code: 'granted'",
    ],
    UNAPPROVED,
    proxied('an action that needs an approval waits for one, works once, and is read-only again'),
  ),
  sabotage(
    'a grant counts its calls',
    'lib/policy/decision/grant.ts',
    ['if (counts && task.uses >= grant.maxCalls) {', 'if (task.uses > 1e9) {'],
    attack('tasks', 'G3 more calls than were granted'),
  ),
  sabotage(
    'a call counts for the task that its own was derived from',
    'lib/tasks/task.ts',
    ['if (this.parent !== undefined) this.parent.#count();', ''],
    registry('a derived task is narrower, spends the uses of its parent and ends with it'),
  ),
  sabotage(
    'a task has no calls left where the one it was derived from has none',
    'lib/tasks/task.ts',
    [
      'if (parent !== undefined && parent.#spent() >= parent.grant.maxCalls) return',
      'if (parent !== undefined && parent.#spent() > 1e9) return',
    ],
    registry('a derived task is narrower, spends the uses of its parent and ends with it'),
  ),
  sabotage(
    'only owners that the policy lists open a task',
    'lib/tasks/limits.ts',
    ['owners === undefined || [owner', 'owners !== null || [owner'],
    registry('an intent of which nothing is left, of no purpose, or of the wrong owner is refused'),
  ),
  sabotage(
    'a grant has the destinations of its ceiling alone',
    'lib/tasks/attenuate.ts',
    ['if (!ceiling.destinations.has(destination.name)) continue;', ''],
    CEILING,
  ),
  sabotage(
    'a task lasts no longer than its ceiling',
    'lib/tasks/attenuate.ts',
    [
      'const lifetime = Math.min(intent.lifetime, ceiling.lifetime);',
      'const lifetime = intent.lifetime;',
    ],
    CEILING,
  ),
  sabotage(
    'a task is extended no further than its ceiling',
    'lib/tasks/opening.ts',
    ['const asked = Math.min(spent + lifetime, most);', 'const asked = spent + lifetime;'],
    registry('extending stays within the ceiling, counted from the opening'),
  ),
  sabotage(
    'what is derived has the purpose and owner of its parent',
    'lib/tasks/opening.ts',
    ['if (intent[part] !== parent.intent[part])', "if (intent[part] === '')"],
    DERIVED,
  ),
  sabotage(
    'tasks are derived so deep and no deeper',
    'lib/tasks/opening.ts',
    ['if (parent.depth >= rule.depth)', 'if (rule.depth < 0)'],
    DERIVED,
  ),
  sabotage(
    'under a task so many are open and no more',
    'lib/tasks/opening.ts',
    ['if (open >= rule.maxOpenTasks)', 'if (rule.maxOpenTasks < 0)'],
    DERIVED,
  ),
  sabotage(
    'a policy that changes narrows the destinations of open tasks',
    'lib/tasks/attenuate.ts',
    [
      'destinations: both(grant.destinations, ceiling.destinations),',
      'destinations: grant.destinations,',
    ],
    NARROWED,
  ),
  sabotage(
    'a policy that changes narrows the actions of open tasks',
    'lib/tasks/attenuate.ts',
    ['actions: both(grant.actions, ceiling.actions),', 'actions: grant.actions,'],
    registry('a new policy narrows what is open, and revokes what has no purpose any more'),
    TAKEN_BACK,
    by(
      'test/tasks/attenuate.test.ts',
      'narrowing to a new ceiling gives nothing that was not there before',
    ),
  ),
  sabotage(
    'a policy that changes revokes tasks of owners that it no longer lists',
    'lib/tasks/opening.ts',
    ['if (!mayOwn(rule, task.intent)) return', "if (task.id === '') return"],
    registry(
      'a new policy revokes what it would not open: another owner, a history of its own, a depth',
    ),
  ),
  sabotage(
    'a shortened parent bounds what was derived from it',
    'lib/tasks/limits.ts',
    ['task.lifetime = Math.min(task.lifetime, most);', 'task.lifetime += 0;'],
    registry('a parent that a new policy narrows or shortens bounds what was derived from it'),
  ),
  sabotage(
    'a narrowed grant cuts what it no longer covers',
    'lib/exchange/reauthorize.ts',
    ['if (task === undefined) return facts;', 'if (task !== null) return facts;'],
    flows('a grant that a reload narrows cuts what it no longer covers, and nothing else'),
  ),
];

const ENDED: readonly Sabotage[] = [
  sabotage(
    'the end of a task aborts what is under way',
    'lib/tasks/task.ts',
    ['for (const member of this.#members.keys()) member.abort(reason);', ''],
    CUT,
    ends('a WebSocket is cut at once when its task ends, and that of another task goes on'),
  ),
  sabotage(
    'a task ends when its time is over',
    'lib/tasks/task.ts',
    ['return monotonic - this.opened.monotonic >= this.lifetime ||', 'return'],
    registry('setting the wall clock back does not make a task last longer'),
  ),
  sabotage(
    'a task ends by the wall clock too',
    'lib/tasks/task.ts',
    [' || wall >= this.expiresAt', ' || wall < 0'],
    CUT,
  ),
  sabotage(
    'what is derived ends with its parent',
    'lib/tasks/registry.ts',
    ['for (const child of task.children) this.end(child, end, `its parent ${task.id} ended`);', ''],
    registry('a derived task is narrower, spends the uses of its parent and ends with it'),
  ),
  sabotage(
    'a task that is held ends with what holds it',
    'lib/api/task-operations.ts',
    ['if (hold) onAbort(gone,', 'if (!hold) onAbort(gone,'],
    doors('a task that is held ends with the connection that holds it'),
  ),
  sabotage(
    'a task whose opening cannot be recorded is not handed out',
    'lib/api/task-operations.ts',
    ['await one.recorded;', 'await one.recorded.catch(() => {});'],
    by(
      'test/api/agent-socket.test.ts',
      'a task whose opening cannot be recorded is not handed out, and ends (R5)',
    ),
  ),
  sabotage(
    'a task that was not handed out does not stay open',
    'lib/api/task-operations.ts',
    ["tasks.end(task, 'revoked', 'it could not be handed out');", ''],
    by('test/api/agent-socket.test.ts', 'a task that cannot be handed out whole is not left open'),
  ),
];

export const TASKS: readonly Sabotage[] = Object.freeze([...IDENTIFIED, ...GRANTED, ...ENDED]);
