/**
 * What tasks are given after they were opened, what is remembered of them, and the doors to them.
 */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const registry = (title: string): ReturnType<typeof by> => by('test/tasks/registry.test.ts', title);
const stepUps = (title: string): ReturnType<typeof by> => by('test/tasks/approvals.test.ts', title);
const doors = (title: string): ReturnType<typeof by> => by('test/api/agent.test.ts', title);
const views = (title: string): ReturnType<typeof by> => by('test/policy/call-view.test.ts', title);
const calls = (title: string): ReturnType<typeof by> =>
  by('test/forward/grpc-approvals.test.ts', title);
const webhook = (title: string): ReturnType<typeof by> =>
  by('test/api/approval-webhook.test.ts', title);
const flows = (title: string): ReturnType<typeof by> =>
  by('test/exchange/task-flows.test.ts', title);
const parameters = (title: string): ReturnType<typeof by> =>
  by('test/policy/call-digest.test.ts', title);
const history = (title: string): ReturnType<typeof by> => by('test/tasks/history.test.ts', title);

const UNAPPROVED = attack(
  'tasks',
  'G4 an action that waits for an approval, with none or with that of another destination or another rule',
);
const TAKEN_BACK = stepUps(
  'what the policy no longer lets anybody approve is not approved, and what was approved so is taken back',
);
const STRICT = stepUps(
  'an approval can only be narrower than the policy, and comes from who the policy says',
);
const AGAIN = stepUps(
  'who asks again for a refusal that was approved meanwhile is given the answer, and no second question',
);
const ANSWERS = by(
  'test/forward/mcp-answers.test.ts',
  'what is answered within a call whose approval is bound was shown to nobody, and is refused; a no is not',
);
const FEW = stepUps(
  'few questions wait at one time, for a task and for an agent; the same one waits once',
);
const EXACT = stepUps(
  'an approval is for its action, its destination, its rule and its parameters alone',
);

const APPROVED: readonly Sabotage[] = [
  sabotage(
    'an approval comes from who the policy says',
    'lib/tasks/approvals.ts',
    ['if (!rule.approvers.has(as)) {', 'if (rule.approvers.size === 0) {'],
    STRICT,
  ),
  sabotage(
    'asking is no approval',
    'lib/tasks/approvals.ts',
    ["if (rule.approvers.has('policy')) return", 'if (rule.approvers.size > 0) return'],
    stepUps('read-only until somebody approves, then for one call, then read-only again'),
    STRICT,
  ),
  sabotage(
    'an approval is no longer than the policy has it',
    'lib/tasks/approvals.ts',
    [
      'const ttl = Math.min(approval.ttl ?? stepUp.ttl, stepUp.ttl, rule.ttl);',
      'const ttl = approval.ttl ?? stepUp.ttl;',
    ],
    STRICT,
  ),
  sabotage(
    'a step-up is answered once',
    'lib/tasks/approvals.ts',
    [
      "if (stateOf(one) === 'pending' && one.task.open && !one.answering) return one;",
      'if (one.task.open) return one;',
    ],
    STRICT,
  ),
  sabotage(
    'an approval is for one destination',
    'lib/policy/decision/grant.ts',
    ['destination !== call.destination.name || rule !== call.rule', 'rule !== call.rule'],
    EXACT,
    UNAPPROVED,
  ),
  sabotage(
    'an approval is for its parameters',
    'lib/policy/decision/grant.ts',
    ['return digest === undefined || digest === call.digest();', 'return digest !== null;'],
    EXACT,
    UNAPPROVED,
  ),
  sabotage(
    'an approval is for one rule',
    'lib/policy/decision/grant.ts',
    [
      'destination !== call.destination.name || rule !== call.rule',
      'destination !== call.destination.name',
    ],
    EXACT,
    UNAPPROVED,
  ),
  sabotage(
    'an approval is bound to what approvals are bound to now',
    'lib/tasks/step-up-rule.ts',
    ['if (rule.bound !== (digest !== undefined)) {', "if (digest === '') {"],
    stepUps('what is not in the grant, is free anyway, or is of an ended task cannot be asked for'),
  ),
  sabotage(
    'a question names a call that was refused',
    'lib/tasks/refused-calls.ts',
    ['find((one) => one.id === id)', 'at(-1)'],
    stepUps(
      'a question names a call that was refused, and shows it; what the agent says stands apart',
    ),
  ),
  sabotage(
    'what is not read whole is not approved',
    'lib/policy/decision/grant.ts',
    ["if (read && call.reading !== 'whole')", "if (read && call.reading === 'unread')"],
    stepUps('what is not read whole is not approved, and counts as no call'),
    by(
      'test/exchange/approvals.test.ts',
      'content that is too long to be shown is not approved, bound or counted, and reaches nobody',
    ),
  ),
  sabotage(
    'content is part of what is approved',
    'lib/policy/decision/call-digest.ts',
    ["content === undefined || typeof content === 'string' ? '' : content.digest", "''"],
    by(
      'test/exchange/approvals.test.ts',
      'the call that was refused is shown, and that call alone passes once it is approved',
    ),
  ),
  sabotage(
    'what is answered within an approved call is no part of it',
    'lib/policy/decision/call-digest.ts',
    [
      "if (mcp?.kind === 'response') return 'answer';",
      "if (mcp?.kind === 'response') return 'whole';",
    ],
    ANSWERS,
  ),
  sabotage(
    'a no to what a server asks says nothing else',
    'lib/mcp/subject.ts',
    [
      "if (method !== 'elicitation/create' || result?.size !== 1)",
      "if (method !== 'elicitation/create' || result === undefined)",
    ],
    ANSWERS,
  ),
  sabotage(
    'a refusal that was approved is no second question',
    'lib/tasks/approvals.ts',
    ["(one.state === 'approved' && one.decision === decision) ||", ''],
    AGAIN,
  ),
  sabotage(
    'an approval that was given is of its refusal, and not of the next',
    'lib/tasks/approvals.ts',
    ["(one.state === 'approved' && one.decision === decision)", "one.state === 'approved'"],
    AGAIN,
  ),
  sabotage(
    'a gRPC call that is approved is one message',
    'lib/forward/one-message.ts',
    ['if (whole !== undefined && this.#seen > whole) throw', 'if (this.#seen === Infinity) throw'],
    calls(
      'a call that sends a second message, or never ends its first, is not approved and reaches nobody',
    ),
  ),
  sabotage(
    'the message of a gRPC call ends with the call',
    'lib/forward/one-message.ts',
    ['if (this.#seen === 0 || this.#seen === this.#whole) return;', 'if (this.#seen >= 0) return;'],
    calls(
      'a call that sends a second message, or never ends its first, is not approved and reaches nobody',
    ),
  ),
  sabotage(
    'a streaming gRPC call is not approved',
    'lib/policy/decision/task.ts',
    ["called.streams === true ? 'never' :", "called.streams === true ? 'whole' :"],
    calls(
      'a rule that says its calls stream is not waited for: without bound: false they are refused at once',
    ),
  ),
  sabotage(
    'the message of a gRPC call is part of what is approved',
    'lib/forward/content.ts',
    [
      'return { bytes, digest: contentDigest(bytes) };',
      'return { bytes, digest: contentDigest(call ? Buffer.of() : bytes) };',
    ],
    calls(
      'a unary gRPC call is refused with its message read, and that message alone passes once approved',
    ),
  ),
  sabotage(
    'header fields are part of what is approved',
    'lib/policy/decision/call-digest.ts',
    ['...boundFields(http.fields), body]', 'body]'],
    by(
      'test/exchange/approvals.test.ts',
      'the call that was refused is shown, and that call alone passes once it is approved',
    ),
  ),
  sabotage(
    'secrets of a call are not shown',
    'lib/policy/review/redacted-text.ts',
    ['if (!SECRET.test(name)) return this.text(value, what);', 'return this.text(value, what);'],
    views('values of names that secrets travel under are not shown, and that is said'),
  ),
  sabotage(
    'what is shown of a call steers no terminal',
    'lib/policy/review/redacted-text.ts',
    ['/[\\p{Cc}\\p{Cf}\\p{Co}\\p{Cn}\\p{Cs}\\p{Zl}\\p{Zp}]/gu', '/[\\p{Cc}]/gu'],
    views('no text steers a terminal, breaks a line or turns the direction of what is read'),
  ),
  sabotage(
    'few questions of a task wait',
    'lib/tasks/approvals.ts',
    ['if (ofTask >= waitingPerTask)', 'if (ofTask > waitingPerAgent)'],
    FEW,
  ),
  sabotage(
    'few questions of an agent wait',
    'lib/tasks/approvals.ts',
    ['if (waiting.length >= waitingPerAgent)', 'if (waiting.length > 1000)'],
    FEW,
  ),
  sabotage(
    'a refusal holds',
    'lib/tasks/approvals.ts',
    ['this.#denials.check({ ...about, agent: task.agent.name });', ''],
    stepUps('a refusal says who and why, and holds for the agent in every task until it lapses'),
  ),
  sabotage(
    'an approval is for so many calls',
    'lib/tasks/task.ts',
    ['held.callsLeft -= 1;', 'held.callsLeft -= 0;'],
    stepUps('read-only until somebody approves, then for one call, then read-only again'),
  ),
  sabotage(
    'an approval lapses',
    'lib/tasks/task.ts',
    [
      'this.#approvals = this.#approvals.filter(({ until }) => until > monotonic);',
      'this.#approvals = this.#approvals.slice();',
    ],
    stepUps('an approval lapses, and what lives on it is cut'),
  ),
  sabotage(
    'what lives on an approval is cut when it lapses',
    'lib/tasks/task.ts',
    [
      'if (approval === undefined || approval.until > monotonic) continue;',
      'if (approval === undefined || approval.until > 0) continue;',
    ],
    stepUps('an approval lapses, and what lives on it is cut'),
  ),
  sabotage(
    'an approval that the policy would no longer give is taken back',
    'lib/tasks/task.ts',
    ['held.callsLeft >= 0 && couldBeGiven(held, stepUp.get(held.action))', 'held.callsLeft >= 0'],
    TAKEN_BACK,
  ),
  sabotage(
    'what cannot be recorded is not approved',
    'lib/tasks/approvals.ts',
    ["await this.#recorded(one, 'the approval');", 'one.answering = false;'],
    stepUps('what cannot be recorded is neither asked nor approved, and says so (R5)'),
  ),
  sabotage(
    'a WebSocket has no digest',
    'lib/policy/decision/call-digest.ts',
    [' || http.websocket', ''],
    parameters('what is not read whole has no digest'),
  ),
  sabotage(
    'the digest of a message is over all of its parameters',
    'lib/policy/decision/call-digest.ts',
    [
      "filter(([name]) => name !== '_meta')",
      "filter(([name]) => name === 'name' || name === 'arguments')",
    ],
    parameters(
      'a message of MCP is its method and all of its parameters, in whatever order they are written',
    ),
  ),
  sabotage(
    'the engine describes no certificate of a webhook to itself',
    'lib/tls/named-server.ts',
    ['return rawPeerOnly(connect(', 'return (connect('],
    webhook('the process lives through a webhook whose CA has a key that ends the engine'),
  ),
  sabotage(
    'a webhook over https is who its URL names',
    'lib/tls/named-server.ts',
    ['=> checkName(host, raw);', '=> (raw.length > 0 ? undefined : checkName(host, raw));'],
    webhook(
      'a webhook whose CA has a key on P-256 is heard over https, and one of another name is not',
    ),
  ),
  sabotage(
    'the answer of a webhook is signed',
    'lib/api/approval-webhook.ts',
    [
      "if (!timingSafeEqual(Buffer.from(hex, 'hex'), mac(`${seconds}.${body}`, secret)))",
      'if (secret.length + body.length === 0)',
    ],
    webhook('another secret decides nothing'),
  ),
  sabotage(
    'the answer of a webhook is of now',
    'lib/api/approval-webhook.ts',
    ['if (Math.abs(now / 1000 - Number(seconds)) > SKEW_SECONDS)', 'if (now < 0)'],
    webhook('an old answer decides nothing'),
  ),
  sabotage(
    'the answer of a webhook is to the question',
    'lib/api/approval-webhook.ts',
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
    [
      'return agent === undefined ? [...this.#sessions.values()] :',
      'return agent === undefined ? [] :',
    ],
    flows('reading without a task counts for the tasks that come later'),
  ),
  sabotage(
    'a past that is not known counts as everything',
    'lib/tasks/registry.ts',
    [
      'const past = options.unknownPast === true ?',
      'const past = options.unknownPast === undefined ?',
    ],
    registry('after a restart the past is unknown and counts as the highest class'),
  ),
  sabotage(
    'what was read since is held against what was opened before',
    'lib/tasks/registry.ts',
    ['if (!this.#following.signal.aborted) this.#options.onChange();', ''],
    flows(
      'a stream that was opened before is cut within a second, and one of an isolated task goes on',
    ),
  ),
];

const DOORS: readonly Sabotage[] = [
  sabotage(
    'an agent touches no task of another',
    'lib/api/agent.ts',
    [
      "tree(own).find(({ id }) => id === call.path['task'])",
      "tasks.get(call.path['task'] ?? own.id)",
    ],
    doors('an agent touches no task but its own, and approves nothing'),
  ),
  sabotage(
    'an agent lists no task of another',
    'lib/api/agent.ts',
    ['tree(caller(call).task).map(taskView)', 'tasks.list().map(taskView)'],
    doors('an agent touches no task but its own, and approves nothing'),
  ),
  sabotage(
    'the loopback port of the agent API asks for its token',
    'lib/api/agent-socket.ts',
    ['timingSafeEqual(digest(sent), wanted)', 'digest(sent).length === wanted.length'],
    doors('the loopback port asks for its token, and turns browsers away (T9)'),
  ),
  sabotage(
    'the loopback port of the agent API turns browsers away',
    'lib/api/agent-socket.ts',
    [' && !fromBrowser(request)', ''],
    doors('the loopback port asks for its token, and turns browsers away (T9)'),
  ),
  sabotage(
    'the socket of the agent API has the mode that was asked for',
    'lib/api/agent-socket.ts',
    ['await chmod(socket, mode);', 'await chmod(socket, 0o777);'],
    doors('the sockets are where they should be, with the modes they should have'),
  ),
];

export const TASK_DOORS: readonly Sabotage[] = Object.freeze([
  ...APPROVED,
  ...REMEMBERED,
  ...DOORS,
]);
