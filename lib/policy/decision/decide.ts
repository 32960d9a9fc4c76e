/**
 * The decision. Total, synchronous and pure: the same policy and facts give the same decision,
 * words included. Order:
 *   1. which destination: the listener's own, or the most specific for host and port; none: deny;
 *   2. what the access matrix does with it there; refused: deny;
 *   3. a connection (no HTTP to be seen): being the destination is the permission;
 *   4. a request: a deny rule that matches denies; else an allow rule that matches allows; else
 *      deny. A rule with a condition matches where that is true; where it cannot be evaluated a
 *      deny rule denies and an allow rule does not allow, and the decision says so. At an MCP
 *      destination the request must be a message of MCP to its endpoint, whose tool is what it was
 *      when it was first seen; the rules are then held against the message, and what belongs to
 *      every conversation needs no rule;
 *   5. what is allowed is held against the task (lib/policy/decision/task.ts), which can only
 *      refuse.
 * `mode: report` turns what rules deny in step 4, and nothing else, into allow with the code
 * `reported`. Reasons name destination, rule, method, path and the name of a tool, never a query, a
 * header, an argument or a body.
 */
import { formatAuthority } from '../../net/authority.ts';
import { quote } from '../../net/host.ts';
import type { SpiffeId } from '../../spiffe/id.ts';
import { ConditionContext } from '../conditions/scope.ts';
import { carriesRequests, matrixRow } from '../model/access-matrix.ts';
import type { Answer, Condition, NoAnswer } from '../model/condition.ts';
import type { Decision, DecisionCode } from '../model/decision.ts';
import type { Destination } from '../model/destination.ts';
import {
  type Facts,
  type HttpFacts,
  type McpFacts,
  type RequestFacts,
  isRequest,
} from '../model/facts.ts';
import type { Elevation } from '../model/grant.ts';
import type { Policy } from '../model/policy.ts';
import type { Rule } from '../model/rule.ts';
import { cut, shownPath } from '../model/shown.ts';
import { callHint, callInWords, callMatches } from '../protocols/grpc.ts';
import { nearMiss, ruleMatches } from '../protocols/http.ts';
import { isMcpLike, reachesEndpoint } from '../protocols/mcp-endpoint.ts';
import { inWords, messageHint, messageMatches, needsNoRule, raised } from '../protocols/mcp.ts';
import { judgeTask } from './task.ts';

/** `as`: our own SPIFFE ID; undefined while there is none. */
export function decide(policy: Policy, facts: Facts, as?: SpiffeId): Decision {
  const verdict = judge(policy, facts, as);
  const { code, destination } = verdict;
  if ((code !== 'allowed' && code !== 'reported') || destination === undefined)
    return decision(policy, verdict);
  const allowed = { ...verdict, action: actionOf(verdict, destination) };
  const { rule, conversation } = verdict;
  const call = {
    action: allowed.action,
    rule: rule?.name,
    conversation,
    streams: rule?.grpc?.streaming,
  };
  const task = judgeTask(destination, call, facts);
  if (task.code === 'granted')
    return decision(policy, { ...allowed, parameters: task.elevation?.digest }, task.elevation);
  return decision(policy, { ...allowed, ...task });
}

/**
 * What is let through by no rule counts as what its destination says of calls that nobody sees;
 * what only carries calls is none itself.
 */
function actionOf(
  { action, rule, carrier }: Verdict,
  destination: Destination,
): string | undefined {
  if (carrier === true) return undefined;
  return action ?? rule?.action ?? destination.action;
}

function judge(policy: Policy, facts: Facts, as: SpiffeId | undefined): Verdict {
  const found = locate(policy, facts);
  if ('code' in found) return found;
  const { destination } = found;
  const row = matrixRow(facts, destination);
  if (row.outcome === 'refused') {
    const reason = `destination ${destination.name} is not served ${ENTRY[facts.entry]}: ${row.why}`;
    return { code: 'wrong-entry', reason, hint: row.hint, destination };
  }
  if ((row.outcome === 'request') !== (facts.http !== undefined)) return uninspectable(destination);
  if (isRequest(facts)) return judgeRequest(destination, facts, as);
  const where = formatAuthority(facts.host, facts.port);
  if (carriesRequests(row)) {
    const reason =
      `destination ${destination.name} is ${row.outcome}: what is asked of ${where} is ` +
      'judged request by request';
    return { code: 'allowed', reason, destination, carrier: true };
  }
  return judgeConnection(destination, facts, { where, as });
}

interface Verdict {
  readonly code: DecisionCode;
  readonly reason: string;
  readonly hint?: string | undefined;
  readonly retryAfter?: number | undefined;
  readonly parameters?: string | undefined;
  readonly unread?: number | undefined;
  readonly destination?: Destination | undefined;
  readonly rule?: Rule | undefined;
  /** The action in place of the rule's. */
  readonly action?: string | undefined;
  readonly policyError?: string | undefined;
  /** It belongs to a conversation: it reads what the server says in it, or answers it. */
  readonly conversation?: 'reads' | 'answers' | undefined;
  /** It carries requests that are judged one by one. */
  readonly carrier?: true;
}

function decision(policy: Policy, verdict: Verdict, elevation?: Elevation): Decision {
  const {
    code,
    reason,
    hint,
    retryAfter,
    parameters,
    unread,
    destination,
    rule,
    action,
    policyError,
  } = verdict;
  return {
    effect: code === 'allowed' || code === 'reported' ? 'allow' : 'deny',
    code,
    reason,
    hint,
    retryAfter,
    parameters,
    unread,
    destination,
    rule: rule?.name,
    action: action ?? rule?.action,
    unused: verdict.conversation === undefined ? undefined : true,
    policyError,
    limits: verdict.conversation === undefined ? rule?.limits : undefined,
    elevation,
    policyGeneration: policy.generation,
  };
}

const ENTRY = Object.freeze({
  forward: 'to plain requests of the forward proxy',
  connect: 'over CONNECT',
  intercept: 'inside an intercepted tunnel',
  cleartext: 'in the clear inside a tunnel',
  listener: 'on a local listener',
});

function locate(policy: Policy, facts: Facts): { readonly destination: Destination } | Verdict {
  const { host, port, listener } = facts;
  const found = policy.find(host, port);
  if (listener === undefined)
    return found === undefined ? unlisted(policy, facts) : { destination: found };
  const own = policy.byName.get(listener);
  if (own === undefined) {
    return {
      code: 'unlisted',
      reason: `destination ${quote(listener)} of this listener is no longer in the policy`,
    };
  }
  if (found === own) return { destination: own };
  const reason =
    `the local listener of destination ${own.name} was asked for ` +
    `${formatAuthority(host, port)}, which is not that destination`;
  return { code: 'misdirected', reason, hint: `ask it for ${asks(own)}`, destination: own };
}

function asks({ hosts, ports }: Destination): string {
  return `${hosts.map(({ text }) => text).join(' or ')}, port ${ports.join(' or ')}`;
}

function unlisted(policy: Policy, { host, port }: Facts): Verdict {
  const reason = `no destination has ${formatAuthority(host, port)}`;
  const ports = policy.portsOf(host);
  const hint =
    ports.length > 0
      ? `${host} is listed for port ${ports.slice(0, 8).join(', ')}: use that, or add port ` +
        `${port} to its destination`
      : 'add a Destination document with this host and port if the agent may go there';
  return { code: policy.unlisted === 'report' ? 'unlisted-reported' : 'unlisted', reason, hint };
}

/** Facts that do not fit the row: what cannot be inspected is denied. */
function uninspectable(destination: Destination): Verdict {
  const reason =
    `destination ${destination.name} was reached in a way that its rules cannot be ` +
    'held against';
  return {
    code: 'wrong-entry',
    reason,
    hint: 'this is a defect of the sidecar: please report it',
    destination,
  };
}

interface Connection {
  readonly where: string;
  readonly as: SpiffeId | undefined;
}

/** Being the destination is the permission, unless its document says when. */
function judgeConnection(
  destination: Destination,
  facts: Facts,
  { where, as }: Connection,
): Verdict {
  const { name, when } = destination;
  const answer = when?.evaluate(new ConditionContext(facts, destination, as)) ?? true;
  if (answer === true) {
    return {
      code: 'allowed',
      reason: `destination ${name} allows connections to ${where}`,
      destination,
    };
  }
  if (answer === false) {
    const reason = `the condition of destination ${name} does not hold for a connection to ${where}`;
    return { code: 'no-rule-matched', reason, hint: 'see when of the destination', destination };
  }
  const { problem } = answer;
  const reason =
    `the condition of destination ${name} could not be evaluated for a connection to ` +
    `${where} (${problem})`;
  return {
    code: 'condition-failed',
    reason,
    hint: 'see when of the destination',
    destination,
    policyError: `${name}: ${problem}`,
  };
}

function judgeRequest(
  destination: Destination,
  facts: RequestFacts,
  as: SpiffeId | undefined,
): Verdict {
  const { http, mcp, grpc } = facts;
  if (destination.protocol === 'grpc' && grpc === undefined) return notGrpc(destination, http);
  if (destination.protocol === 'mcp') {
    if (mcp === undefined) return judgeBeside(destination, facts, as);
    const state = mcp.definition?.state;
    if (state === 'changed' || state === 'unverified') return changed(destination, mcp);
  }
  return judgeByRules(destination, facts, as);
}

/**
 * A request beside the endpoints of an MCP server: for rules about HTTP, if it can be no message.
 */
function judgeBeside(
  destination: Destination,
  facts: RequestFacts,
  as: SpiffeId | undefined,
): Verdict {
  const { http } = facts;
  const { rules, mcp } = destination;
  if (!rules.some((rule) => rule.http !== undefined)) return notMcp(destination, http);
  if (reachesEndpoint(mcp?.endpoints ?? [], http.path)) return notMcp(destination, http);
  const verdict = judgeByRules(destination, facts, as);
  // What could be a message is let through by a rule that says so, and by nothing else.
  const refused = verdict.code === 'no-rule-matched' || verdict.code === 'reported';
  return refused && isMcpLike(http) ? mcpLike(destination, http) : verdict;
}

function judgeByRules(
  destination: Destination,
  facts: RequestFacts,
  as: SpiffeId | undefined,
): Verdict {
  const { name, rules } = destination;
  const { mcp } = facts;
  let context: ConditionContext | undefined;
  for (const rule of rules) {
    if (rule.effect !== 'deny' || !isAbout(rule, facts)) continue;
    const answer =
      rule.when?.evaluate((context ??= new ConditionContext(facts, destination, as))) ?? true;
    if (answer !== false)
      return reported(refusal(destination, rule, { answer, asked: asked(facts) }));
  }
  let policyError: string | undefined;
  for (const rule of rules) {
    if (rule.effect !== 'allow' || !isAbout(rule, facts)) continue;
    const answer =
      rule.when?.evaluate((context ??= new ConditionContext(facts, destination, as))) ?? true;
    if (answer === true) {
      const reason = `rule ${rule.name} of destination ${name} allows ${asked(facts)}`;
      const action = mcp && raised(rule.action, mcp);
      return { code: 'allowed', reason, destination, rule, action, policyError };
    }
    if (answer !== false) policyError = unanswered(policyError, rule, answer);
  }
  const closed = (when: Condition): boolean =>
    when.evaluate((context ??= new ConditionContext(facts, destination, as))) === false;
  if (mcp !== undefined && needsNoRule(destination, mcp, closed)) {
    const reason = `destination ${name} allows ${asked(facts)}, which its protocol needs`;
    return {
      code: 'allowed',
      reason,
      destination,
      policyError,
      ...inConversation(destination, mcp),
    };
  }
  const why =
    policyError === undefined ? '' : `; a condition could not be evaluated: ${policyError}`;
  const reason = `no rule of destination ${name} allows ${asked(facts)}${why}`;
  const hint = mcp === undefined ? hintFor(destination, facts) : messageHint(destination, mcp);
  return reported({ code: 'no-rule-matched', reason, hint, destination, policyError });
}

/**
 * An answer has action and rule of the call in which the server asked; everything else of a
 * conversation reads.
 */
function inConversation(
  { rules }: Destination,
  { kind, failed, answersIn, answersBy }: McpFacts,
): Pick<Verdict, 'action' | 'conversation' | 'rule'> {
  if (kind !== 'response' || failed === true) return { action: 'read', conversation: 'reads' };
  const rule = rules.find(({ name }) => name === answersBy);
  return { action: answersIn ?? 'write', conversation: 'answers', rule };
}

/** What a rule says but for its condition. */
export function isAbout(rule: Rule, facts: RequestFacts): boolean {
  if (facts.mcp !== undefined) return messageMatches(rule, facts.mcp);
  if (rule.effect === 'allow' && rule.http?.mcpLike === false && isMcpLike(facts.http))
    return false;
  return facts.grpc === undefined ? ruleMatches(rule, facts.http) : callMatches(rule, facts.grpc);
}

/** The request, for people. */
function asked({ http, mcp, grpc }: RequestFacts): string {
  if (grpc !== undefined) return callInWords(grpc);
  return mcp === undefined ? describe(http) : inWords(mcp);
}

interface Refusal {
  readonly answer: Exclude<Answer, false>;
  readonly asked: string;
}

function refusal(destination: Destination, rule: Rule, { answer, asked: what }: Refusal): Verdict {
  const about = `rule ${rule.name} of destination ${destination.name}`;
  if (answer === true) {
    const hint = 'deny rules win over allow rules';
    return { code: 'denied-by-rule', reason: `${about} denies ${what}`, hint, destination, rule };
  }
  return {
    code: 'condition-failed',
    reason:
      `the condition of ${about} could not be evaluated for ${what} (${answer.problem}), and ` +
      'a deny rule then denies',
    hint: 'guard what may be missing with has()',
    destination,
    rule,
    policyError: unanswered(undefined, rule, answer),
  };
}

const MAX_ERROR = 200;

function unanswered(before: string | undefined, { name }: Rule, { problem }: NoAnswer): string {
  const all = `${before === undefined ? '' : `${before}; `}${name}: ${problem}`;
  return all.length > MAX_ERROR ? (before ?? all.slice(0, MAX_ERROR)) : all;
}

function notGrpc(destination: Destination, request: HttpFacts): Verdict {
  const reason = `${describe(request)} is no gRPC call to destination ${destination.name}`;
  return {
    code: 'not-grpc',
    reason,
    hint: 'calls go over HTTP/2 by POST to /package.Service/Method, without a query',
    destination,
  };
}

function notMcp(destination: Destination, request: HttpFacts): Verdict {
  const endpoints = [...(destination.mcp?.endpoints ?? [])].join(' or ');
  const reason =
    `${describe(request)} is no message to the MCP endpoint of destination ` +
    `${destination.name}`;
  return {
    code: 'not-mcp',
    reason,
    hint: `messages go by POST to ${endpoints}, without a query`,
    destination,
  };
}

function mcpLike(destination: Destination, request: HttpFacts): Verdict {
  const reason =
    `${describe(request)} of destination ${destination.name} looks like a message of MCP ` +
    'beside its endpoints';
  const hint =
    'a rule about HTTP lets it through if it says mcpLike: allow, and endpoints of the ' +
    'server belong to mcp.endpoints';
  return { code: 'not-mcp', reason, hint, destination };
}

function changed(destination: Destination, { tool = '', definition }: McpFacts): Verdict {
  const whose = `the definition of tool ${tool} of destination ${destination.name}`;
  const verdict = { code: 'definition-changed' as const, destination };
  if (definition?.state === 'unverified')
    return {
      ...verdict,
      reason: `${whose} is pinned and was not seen yet`,
      hint: 'ask for tools/list first',
    };
  const hint =
    'look at what changed, then approve it (docs/mcp.md) or pin it in mcp.pins of the destination';
  return { ...verdict, reason: `${whose} is not the one that was pinned`, hint };
}

function reported(verdict: Verdict): Verdict {
  if (verdict.destination?.mode !== 'report') return verdict;
  return {
    ...verdict,
    code: 'reported',
    reason: `${verdict.reason}; let through because its mode is report`,
  };
}

function describe({ method, path, websocket }: HttpFacts): string {
  return `${shortMethod(method)} ${cut(shownPath(path))}${websocket ? ' as WebSocket' : ''}`;
}

function shortMethod(method: string): string {
  return method.length > 32 ? `${method.slice(0, 32)}…` : method;
}

function hintFor({ rules }: Destination, { http: request, grpc }: RequestFacts): string {
  if (grpc !== undefined) return callHint(rules, grpc);
  if (rules.every(({ effect }) => effect === 'deny'))
    return 'the destination has no allow rule: add one';
  for (const rule of rules) {
    const miss = nearMiss(rule, request);
    if (miss === 'condition')
      return `rule ${rule.name} would allow it, but its condition does not hold`;
    if (miss === 'upgrade')
      return `rule ${rule.name} matches but for WebSocket: add websocket: true to its http`;
    if (miss === 'content')
      return `rule ${rule.name} matches but for its content: add contentOnGet: allow to its http`;
    if (miss === 'method')
      return (
        `rule ${rule.name} allows this path for ${methodsOf(rule)} alone; ` +
        `${shortMethod(request.method)} must be listed`
      );
  }
  return (
    `add an allow rule whose http has methods: [${shortMethod(request.method)}] and a path ` +
    'pattern for this path'
  );
}

function methodsOf({ http }: Rule): string {
  const { methods } = http ?? {};
  return methods === undefined ? 'the common methods' : [...methods].join(', ');
}
