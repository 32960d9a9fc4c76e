/** What tasks are given after they were opened, what is remembered of them, and the doors to them. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const registry = (title: string): ReturnType<typeof by> => by('test/tasks/registry.test.ts', title);
const stepUps = (title: string): ReturnType<typeof by> => by('test/tasks/step-ups.test.ts', title);
const doors = (title: string): ReturnType<typeof by> => by('test/admin/agent-api.test.ts', title);
const webhook = (title: string): ReturnType<typeof by> => by('test/admin/approval-webhook.test.ts', title);
const flows = (title: string): ReturnType<typeof by> => by('test/proxy/task-flows.test.ts', title);
const parameters = (title: string): ReturnType<typeof by> => by('test/policy/parameters.test.ts', title);
const history = (title: string): ReturnType<typeof by> => by('test/tasks/history.test.ts', title);

const UNAPPROVED = attack(
  'tasks',
  'G4 an action that waits for an approval, with none or with that of another destination or other parameters',
);
const TAKEN_BACK = stepUps(
  'what the policy no longer lets anybody approve is not approved, and what was approved so is taken back',
);
const STRICT = stepUps('an approval can only be narrower than the policy, and comes from who the policy says');
const EXACT = stepUps('an approval is for its action, its destination and its parameters alone');

const APPROVED: readonly Sabotage[] = [
  sabotage(
    'an approval comes from who the policy says',
    'lib/tasks/step-ups.ts',
    ['if (!rule.approvers.has(as)) {', 'if (rule.approvers.size === 0) {'],
    STRICT,
  ),
  sabotage(
    'asking is no approval',
    'lib/tasks/step-ups.ts',
    ["if (rule.approvers.has('policy')) return", 'if (rule.approvers.size > 0) return'],
    stepUps('read-only until somebody approves, then for one call, then read-only again'),
    STRICT,
  ),
  sabotage(
    'an approval is no longer than the policy has it',
    'lib/tasks/step-ups.ts',
    [
      'const lasts = Math.min(approval.lasts ?? stepUp.lasts, stepUp.lasts, rule.lasts);',
      'const lasts = approval.lasts ?? stepUp.lasts;',
    ],
    STRICT,
  ),
  sabotage(
    'a step-up is answered once',
    'lib/tasks/step-ups.ts',
    ["if (one.stepUp.state === 'pending' && one.task.open) return one;", 'if (one.task.open) return one;'],
    STRICT,
  ),
  sabotage(
    'an approval is for one destination',
    'lib/policy/grant.ts',
    ['if (destination !== undefined && destination !== call.destination.name) return false;', ''],
    EXACT,
    UNAPPROVED,
  ),
  sabotage(
    'an approval is for its parameters',
    'lib/policy/grant.ts',
    ['return digest === undefined || digest === call.digest();', 'return digest !== null;'],
    EXACT,
    UNAPPROVED,
  ),
  sabotage(
    'where approvals are bound none is asked for without parameters',
    'lib/tasks/step-ups.ts',
    ['if (rule.bound && digest === undefined) {', "if (rule.bound && digest === '') {"],
    EXACT,
  ),
  sabotage(
    'an approval is for so many calls',
    'lib/tasks/task.ts',
    ['held.uses -= 1;', 'held.uses -= 0;'],
    stepUps('read-only until somebody approves, then for one call, then read-only again'),
  ),
  sabotage(
    'an approval lapses',
    'lib/tasks/task.ts',
    [
      'this.#elevations = this.#elevations.filter(({ until }) => until > monotonic);',
      'this.#elevations = this.#elevations.slice();',
    ],
    stepUps('an approval lapses, and what lives on it is cut'),
  ),
  sabotage(
    'what lives on an approval is cut when it lapses',
    'lib/tasks/task.ts',
    [
      'if (elevation === undefined || elevation.until > monotonic) continue;',
      'if (elevation === undefined || elevation.until > 0) continue;',
    ],
    stepUps('an approval lapses, and what lives on it is cut'),
  ),
  sabotage(
    'an approval that the policy would no longer give is taken back',
    'lib/tasks/task.ts',
    ['rules(held).every((rule) => couldBeGiven(held, rule))', 'rules(held).length > 0'],
    TAKEN_BACK,
  ),
  sabotage(
    'an approval that cannot be recorded is taken back',
    'lib/tasks/step-ups.ts',
    ['task.withdraw((held) => held.id !== id)', "task.withdraw((held) => held.id !== '')"],
    stepUps('an approval that cannot be recorded is taken back (R5)'),
  ),
  sabotage(
    'a WebSocket has no digest',
    'lib/policy/parameters.ts',
    ['http.websocket || ', ''],
    parameters('what is not read whole has no digest'),
  ),
  sabotage(
    'the digest of a message is over all of its parameters',
    'lib/policy/parameters.ts',
    ["filter(([name]) => name !== '_meta')", "filter(([name]) => name === 'name' || name === 'arguments')"],
    parameters('a message of MCP is its method and all of its parameters, in whatever order they are written'),
  ),
  sabotage(
    'the answer of a webhook is signed',
    'lib/admin/approval-webhook.ts',
    [
      "if (!timingSafeEqual(Buffer.from(hex, 'hex'), mac(`${seconds}.${body}`, secret)))",
      'if (secret.length + body.length === 0)',
    ],
    webhook('another secret decides nothing'),
  ),
  sabotage(
    'the answer of a webhook is of now',
    'lib/admin/approval-webhook.ts',
    ['if (Math.abs(now / 1000 - Number(seconds)) > SKEW_SECONDS)', 'if (now < 0)'],
    webhook('an old answer decides nothing'),
  ),
  sabotage(
    'the answer of a webhook is to the question',
    'lib/admin/approval-webhook.ts',
    ['if (nonce !== asked.nonce) throw', "if (nonce === '') throw"],
    webhook('an answer to another question decides nothing'),
  ),
];

const REMEMBERED: readonly Sabotage[] = [
  sabotage(
    'what is read is remembered',
    'lib/tasks/history.ts',
    ["if (action !== 'write') grown = add('read',", "if (action === '') grown = add('read',"],
    history('reading marks what was read, writing what was written, everything else both'),
  ),
  sabotage(
    'an exchange does not see its own marks',
    'lib/tasks/history.ts',
    ['second !== undefined || first !== exchange', 'second !== undefined || first !== undefined'],
    history('an exchange does not see its own marks, and sees them once another has made them too'),
  ),
  sabotage(
    'a past belongs to the session',
    'lib/tasks/agents.ts',
    ['return isolated ? session.copy() : session;', 'return isolated ? session : session.copy();'],
    flows('another task and a sub-agent inherit what was read; an isolated task has its own past'),
  ),
  sabotage(
    'what a sub-agent does counts for its parent',
    'lib/tasks/registry.ts',
    ['history: parent?.history ??', 'history:'],
    flows('what a sub-agent reads counts for its parent'),
  ),
  sabotage(
    'what is done without a task is remembered',
    'lib/tasks/agents.ts',
    ['return agent === undefined ? [...this.#sessions.values()] :', 'return agent === undefined ? [] :'],
    flows('reading without a task counts for the tasks that come later'),
  ),
  sabotage(
    'a past that is not known counts as everything',
    'lib/tasks/registry.ts',
    ['const past = options.unknownPast === true ?', 'const past = options.unknownPast === undefined ?'],
    registry('after a restart the past is unknown and counts as the highest class'),
  ),
  sabotage(
    'what was read since is held against what was opened before',
    'lib/tasks/registry.ts',
    ['if (!this.#following.signal.aborted) this.#options.onChange();', ''],
    flows('a stream that was opened before is cut within a second, and one of an isolated task goes on'),
  ),
];

const DOORS: readonly Sabotage[] = [
  sabotage(
    'an agent touches no task of another',
    'lib/admin/agent-api.ts',
    ["tree(own).find(({ id }) => id === call.path['task'])", "tasks.get(call.path['task'] ?? own.id)"],
    doors('an agent touches no task but its own, and approves nothing'),
  ),
  sabotage(
    'an agent lists no task of another',
    'lib/admin/agent-api.ts',
    ['tree(caller(call).task).map(taskView)', 'tasks.list().map(taskView)'],
    doors('an agent touches no task but its own, and approves nothing'),
  ),
  sabotage(
    'the loopback port of the agent API asks for its token',
    'lib/admin/agent-door.ts',
    ['timingSafeEqual(digest(sent), wanted)', 'digest(sent).length === wanted.length'],
    doors('the loopback port asks for its token, and turns browsers away (T9, M14)'),
  ),
  sabotage(
    'the loopback port of the agent API turns browsers away',
    'lib/admin/agent-door.ts',
    [' && !fromBrowser(request)', ''],
    doors('the loopback port asks for its token, and turns browsers away (T9, M14)'),
  ),
  sabotage(
    'the socket of the agent API has the mode that was asked for',
    'lib/admin/agent-door.ts',
    ['await chmod(socket, mode);', 'await chmod(socket, 0o777);'],
    doors('the sockets are where they should be, with the modes they should have'),
  ),
];

export const TASK_DOORS: readonly Sabotage[] = Object.freeze([...APPROVED, ...REMEMBERED, ...DOORS]);
