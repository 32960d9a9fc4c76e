/**
 * The decision. Total, synchronous and pure: the same policy and facts give the same decision, words included. Order:
 *   1. which destination: the listener's own, or the most specific for host and port; none: deny;
 *   2. what the access matrix does with it there; refused: deny;
 *   3. a connection (no HTTP to be seen): being the destination is the permission;
 *   4. a request: a deny rule that matches denies; else an allow rule that matches allows; else deny.
 *      At an MCP destination the request must be a message of MCP to its endpoint, whose tool is what it was when it was first seen; the rules are then held
 *      against the message, and what belongs to every conversation needs no rule.
 * `mode: report` turns what rules deny in step 4, and nothing else, into allow with the code `reported`.
 * Reasons name destination, rule, method, path and the name of a tool, never a query, a header, an argument or a body.
 */
import { formatAuthority } from './authority.ts';
import type { Decision, DecisionCode, Facts, HttpFacts, McpFacts } from './facts.ts';
import { quote } from './host.ts';
import { matrixRow } from './matrix.ts';
import { inWords, messageHint, messageMatches, needsNoRule, raised } from './mcp.ts';
import type { Destination, Policy, Rule } from './model.ts';
import { nearMiss, ruleMatches } from './rules.ts';

export function decide(policy: Policy, facts: Facts): Decision {
  const found = locate(policy, facts);
  if ('code' in found) return decision(policy, found);
  const { destination } = found;
  const row = matrixRow(facts.entry, destination);
  if (row.outcome === 'refused') {
    const reason = `destination ${destination.name} is not served ${ENTRY[facts.entry]}: ${row.why}`;
    return decision(policy, { code: 'wrong-entry', reason, hint: row.hint, destination });
  }
  if ((row.outcome === 'request') !== (facts.http !== undefined)) return decision(policy, uninspectable(destination));
  if (facts.http !== undefined) return decision(policy, judgeRequest(destination, facts.http, facts.mcp));
  const reason = `destination ${destination.name} allows connections to ${formatAuthority(facts.host, facts.port)}`;
  return decision(policy, { code: 'allowed', reason, destination });
}

interface Verdict {
  readonly code: DecisionCode;
  readonly reason: string;
  readonly hint?: string | undefined;
  readonly destination?: Destination | undefined;
  readonly rule?: Rule | undefined;
  /** The action in place of the rule's. */
  readonly action?: string | undefined;
}

function decision(policy: Policy, { code, reason, hint, destination, rule, action }: Verdict): Decision {
  return {
    effect: code === 'allowed' || code === 'reported' ? 'allow' : 'deny',
    code,
    reason,
    hint,
    destination,
    rule: rule?.name,
    action: action ?? rule?.action,
    policyGeneration: policy.generation,
  };
}

const ENTRY = Object.freeze({
  forward: 'to plain requests of the forward proxy',
  connect: 'over CONNECT',
  listener: 'on a local listener',
});

function locate(policy: Policy, facts: Facts): { readonly destination: Destination } | Verdict {
  const { host, port, listener } = facts;
  const found = policy.find(host, port);
  if (listener === undefined) return found === undefined ? unlisted(policy, facts) : { destination: found };
  const own = policy.byName.get(listener);
  if (own === undefined) {
    return { code: 'unlisted', reason: `destination ${quote(listener)} of this listener is no longer in the policy` };
  }
  if (found === own) return { destination: own };
  const reason = `the local listener of destination ${own.name} was asked for ${formatAuthority(host, port)}, which is not that destination`;
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
      ? `${host} is listed for port ${ports.slice(0, 8).join(', ')}: use that, or add port ${port} to its destination`
      : 'add a Destination document with this host and port if the agent may go there';
  return { code: 'unlisted', reason, hint };
}

/** Facts that do not fit the row: what cannot be inspected is denied. */
function uninspectable(destination: Destination): Verdict {
  const reason = `destination ${destination.name} was reached in a way that its rules cannot be held against`;
  return { code: 'wrong-entry', reason, hint: 'this is a defect of the sidecar: please report it', destination };
}

function judgeRequest(destination: Destination, request: HttpFacts, message: McpFacts | undefined): Verdict {
  if (destination.protocol !== 'mcp') return judgeByRules(destination, request, undefined);
  if (message === undefined) return notMcp(destination, request);
  if (message.definition?.state === 'changed') return changed(destination, message);
  return judgeByRules(destination, request, message);
}

function judgeByRules(destination: Destination, request: HttpFacts, message: McpFacts | undefined): Verdict {
  const { name, rules } = destination;
  const asked = message === undefined ? describe(request) : inWords(message);
  const deny = rules.find((rule) => rule.effect === 'deny' && isAbout(rule, request, message));
  if (deny !== undefined) {
    const reason = `rule ${deny.name} of destination ${name} denies ${asked}`;
    return reported({
      code: 'denied-by-rule',
      reason,
      hint: 'deny rules win over allow rules',
      destination,
      rule: deny,
    });
  }
  const allow = rules.find((rule) => rule.effect === 'allow' && isAbout(rule, request, message));
  if (allow !== undefined) {
    const reason = `rule ${allow.name} of destination ${name} allows ${asked}`;
    return { code: 'allowed', reason, destination, rule: allow, action: message && raised(allow.action, message) };
  }
  if (message !== undefined && needsNoRule(destination, message)) {
    const reason = `destination ${name} allows ${asked}, which its protocol needs`;
    return { code: 'allowed', reason, destination, action: 'read' };
  }
  const reason = `no rule of destination ${name} allows ${asked}`;
  const hint = message === undefined ? hintFor(destination, request) : messageHint(destination, message);
  return reported({ code: 'no-rule-matched', reason, hint, destination });
}

function isAbout(rule: Rule, request: HttpFacts, message: McpFacts | undefined): boolean {
  return message === undefined ? ruleMatches(rule, request) : messageMatches(rule, message);
}

function notMcp(destination: Destination, request: HttpFacts): Verdict {
  const endpoint = destination.mcp?.path ?? '';
  const reason = `${describe(request)} is no message to the MCP endpoint of destination ${destination.name}`;
  return { code: 'not-mcp', reason, hint: `messages go by POST to ${endpoint}, without a query`, destination };
}

function changed(destination: Destination, { tool = '' }: McpFacts): Verdict {
  const reason = `the definition of tool ${tool} of destination ${destination.name} is not the one that was pinned`;
  const hint = 'look at what changed, then approve it (docs/mcp.md) or pin it in mcp.pins of the destination';
  return { code: 'definition-changed', reason, hint, destination };
}

function reported(verdict: Verdict): Verdict {
  if (verdict.destination?.mode !== 'report') return verdict;
  return { ...verdict, code: 'reported', reason: `${verdict.reason}; let through because its mode is report` };
}

const LONGEST_SHOWN = 200;

function describe({ method, path, websocket }: HttpFacts): string {
  const shown = path.length > LONGEST_SHOWN ? `${path.slice(0, LONGEST_SHOWN)}…` : path;
  return `${shortMethod(method)} ${shown}${websocket ? ' as WebSocket' : ''}`;
}

function shortMethod(method: string): string {
  return method.length > 32 ? `${method.slice(0, 32)}…` : method;
}

function hintFor({ rules }: Destination, request: HttpFacts): string {
  if (rules.every(({ effect }) => effect === 'deny')) return 'the destination has no allow rule: add one';
  for (const rule of rules) {
    const miss = nearMiss(rule, request);
    if (miss === 'upgrade') return `rule ${rule.name} matches but for WebSocket: add websocket: true to its http`;
    if (miss === 'method')
      return `rule ${rule.name} allows this path for ${methodsOf(rule)} alone; ${shortMethod(request.method)} must be listed`;
  }
  return `add an allow rule whose http has methods: [${shortMethod(request.method)}] and a path pattern for this path`;
}

function methodsOf({ http }: Rule): string {
  const { methods } = http ?? {};
  return methods === undefined ? 'the common methods' : [...methods].join(', ');
}
