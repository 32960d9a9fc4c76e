/**
 * Whether a rule is about a message of MCP. A rule names tools, prompts, resources or methods; an
 * allow rule is about what it names and nothing else. What belongs to every conversation
 * (handshake, ping, lists, streams) is permitted where any rule allows anything, unless a deny rule
 * names it: lists show only what is allowed. It carries words all the same, so what a session has
 * done before closes it too: a deny rule over every tool whose condition reads that history is
 * about it, and an allow rule whose condition says no because of that history allows nothing.
 */
import type { Condition } from '../model/condition.ts';
import type { McpFacts } from '../model/facts.ts';
import { CLIENT_METHODS } from '../model/mcp-methods.ts';
import { EVERY } from '../model/permission.ts';
import type { Question } from '../model/question.ts';
import type { Effect } from '../model/rule.ts';
import { cut, shownUri } from '../model/shown.ts';
import type { Verdict } from '../model/verdict.ts';
import { NO_ALLOW_RULE, type RuleTerms, failsCondition, onlyDeny } from './by-rules.ts';
import type { McpMatch, McpRule, McpService } from './mcp-service.ts';

/** Parts of `task` that tell what was done before. */
const HISTORY = /\b(?:read|wrote|actions|destinations)\b/;

function readsHistory({ variables, text }: Condition): boolean {
  return variables.has('task') && HISTORY.test(text);
}

/** What ends something and says nothing: it goes on whatever was done before. */
export function endsSomething({ kind, method, failed }: McpFacts): boolean {
  if (kind === 'response') return failed === true || method === 'ping';
  return (
    kind === 'end' ||
    (kind === 'request' ? method === 'ping' : method === 'notifications/cancelled')
  );
}

function flowMatches({ effect, mcp, when }: McpRule, message: McpFacts): boolean {
  if (effect !== 'deny' || !mcp.tools.has(EVERY) || when === undefined) return false;
  return readsHistory(when) && !endsSomething(message);
}

export function messageMatches(rule: McpRule, message: McpFacts): boolean {
  const { effect, mcp } = rule;
  if (message.kind !== 'response' && mcp.methods.has(message.method)) return true;
  if (isNamed(mcp.tools, message.tool) || isNamed(mcp.prompts, message.prompt)) return true;
  return isNamedResource(effect, mcp, message.resource) || flowMatches(rule, message);
}

export function isNamed(names: ReadonlySet<string>, name: string | undefined): boolean {
  return name !== undefined && (names.has(name) || names.has(EVERY));
}

export function isNamedResource(
  effect: Effect,
  { resources }: McpMatch,
  uri: string | undefined,
): boolean {
  if (uri === undefined) return false;
  return resources.some((pattern) =>
    effect === 'deny' ? pattern.denies(uri) : pattern.matches(uri),
  );
}

/**
 * Whether a message is allowed where any rule allows anything: it belongs to every conversation, or
 * answers a request that the server may make.
 */
function needsNoRule(question: Question<McpService>, message: McpFacts): boolean {
  const { rules, serverRequests } = question.destination.service;
  const open = rules.some(({ effect, when }) => {
    if (effect !== 'allow') return false;
    return (
      when === undefined ||
      !readsHistory(when) ||
      endsSomething(message) ||
      question.ask(when) !== false
    );
  });
  if (!open) return false;
  const { kind, method } = message;
  if (kind === 'stream' || kind === 'end') return true;
  if (kind === 'response') return method === 'ping' || serverRequests.has(method);
  return CLIENT_METHODS.get(method)?.subject === 'protocol';
}

/**
 * An answer has action and rule of the call in which the server asked; everything else of a
 * conversation reads.
 */
function inConversation(
  { rules }: McpService,
  { kind, failed, answersIn, answersBy }: McpFacts,
): Pick<Verdict, 'action' | 'conversation' | 'rule'> {
  if (kind !== 'response' || failed === true) return { action: 'read', conversation: 'reads' };
  const rule = rules.find(({ name }) => name === answersBy);
  return { action: answersIn ?? 'write', conversation: 'answers', rule };
}

/**
 * `read` is raised to `write` where the server says that its tool destroys or reaches out; nothing
 * a server says lowers an action.
 */
export function raised(action: string | undefined, hazardous: boolean): string | undefined {
  return action === 'read' && hazardous ? 'write' : action;
}

/** The message in words, for reasons: never an argument. */
function messageInWords(message: McpFacts): string {
  const { kind, method } = message;
  if (kind === 'stream') return 'the stream of the server';
  if (kind === 'end') return 'the end of the session';
  const { tool, prompt, resource: uri } = message;
  const name = tool ?? prompt ?? (uri === undefined ? undefined : shownUri(uri));
  const what = `${kind === 'response' ? 'the answer to ' : ''}${cut(method === '' ? 'nothing' : method)}`;
  return name === undefined ? what : `${what} ${cut(name)}`;
}

/** What to write to allow it. */
function messageHint(rules: readonly McpRule[], message: McpFacts): string {
  const { kind, method, tool, prompt, resource: uri } = message;
  if (kind === 'response')
    return 'requests by the server are allowed by mcp.serverRequests of the destination';
  if (onlyDeny(rules)) return NO_ALLOW_RULE;
  const near = rules.find((rule) => rule.effect === 'allow' && messageMatches(rule, message));
  if (near !== undefined) return failsCondition(near);
  if (tool !== undefined) return `add an allow rule whose mcp has tools: [${cut(tool)}]`;
  if (prompt !== undefined) return `add an allow rule whose mcp has prompts: [${cut(prompt)}]`;
  if (uri !== undefined) return 'add an allow rule whose mcp has resources with this URI';
  if (CLIENT_METHODS.has(method)) return `add an allow rule whose mcp has methods: [${method}]`;
  return 'the method is not known here, and what is not known is denied';
}

export const MCP_TERMS: RuleTerms<McpRule, McpFacts> = Object.freeze({
  isAbout: messageMatches,
  words: messageInWords,
  hint: messageHint,
  allowed: ({ action }: McpRule, { definition }: McpFacts) => ({
    action: raised(action, definition?.hazardous === true),
  }),
  unruled: (question: Question<McpService>, message: McpFacts) =>
    needsNoRule(question, message)
      ? inConversation(question.destination.service, message)
      : undefined,
});
