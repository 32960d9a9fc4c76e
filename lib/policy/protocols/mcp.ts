/**
 * Whether a rule is about a message of MCP. A rule names tools, prompts, resources or methods; an
 * allow rule is about what it names and nothing else. What belongs to every conversation
 * (handshake, ping, lists, streams) is permitted where any rule allows anything, unless a deny rule
 * names it: lists show only what is allowed. It carries words all the same, so what a session has
 * done before closes it too: a deny rule over every tool whose condition reads that history is
 * about it, and an allow rule whose condition says no because of that history allows nothing.
 */
import type { Condition } from '../model/condition.ts';
import type { Destination } from '../model/destination.ts';
import type { McpFacts } from '../model/facts.ts';
import type { Grant } from '../model/grant.ts';
import { CLIENT_METHODS, type Subject } from '../model/mcp-methods.ts';
import type { McpMatch, Rule } from '../model/rule.ts';
import { cut, shownUri } from '../model/shown.ts';

/** In a list of tools or prompts: every one. */
export const EVERY = '*';

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

function flowMatches({ effect, mcp, when }: Rule, message: McpFacts): boolean {
  if (effect !== 'deny' || mcp?.tools.has(EVERY) !== true || when === undefined) return false;
  return readsHistory(when) && !endsSomething(message);
}

export function messageMatches(rule: Rule, message: McpFacts): boolean {
  const { effect, http, mcp } = rule;
  // A rule about HTTP is about what is no message.
  if (mcp === undefined) return effect === 'deny' && http === undefined;
  if (message.kind !== 'response' && mcp.methods.has(message.method)) return true;
  if (named(mcp.tools, message.tool) || named(mcp.prompts, message.prompt)) return true;
  return resource(effect, mcp, message.resource) || flowMatches(rule, message);
}

function named(names: ReadonlySet<string>, name: string | undefined): boolean {
  return name !== undefined && (names.has(name) || names.has(EVERY));
}

function resource(
  effect: Rule['effect'],
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
 * @param closed whether the condition of an allow rule is false now
 */
export function needsNoRule(
  { rules, mcp }: Destination,
  message: McpFacts,
  closed: (condition: Condition) => boolean,
): boolean {
  const { kind, method } = message;
  const open = rules.some(({ effect, mcp: match, when }) => {
    if (effect !== 'allow' || match === undefined) return false;
    return when === undefined || !readsHistory(when) || endsSomething(message) || !closed(when);
  });
  if (!open) return false;
  if (kind === 'stream' || kind === 'end') return true;
  if (kind === 'response') return method === 'ping' || mcp?.serverRequests.has(method) === true;
  return CLIENT_METHODS.get(method)?.subject === 'protocol';
}

/** Subjects of methods that are not known by their name alone, and what of a rule is about them. */
const ABOUT: Readonly<Partial<Record<Subject, readonly (keyof McpMatch)[]>>> = Object.freeze({
  resource: ['resources'],
  reference: ['prompts', 'resources'],
});

/**
 * Whether a rule could allow some message of this method: what policy leaves of what a server can
 * do.
 */
export function mayAsk({ rules }: Destination, method: string): boolean {
  const names = (rule: Rule): boolean => rule.mcp?.methods.has(method) === true;
  if (rules.some((rule) => rule.effect === 'deny' && rule.when === undefined && names(rule)))
    return false;
  const subject = CLIENT_METHODS.get(method)?.subject;
  if (subject === 'protocol')
    return rules.some(({ effect, mcp }) => effect === 'allow' && mcp !== undefined);
  const about = (subject === undefined ? undefined : ABOUT[subject]) ?? [];
  return rules.some(
    (rule) => rule.effect === 'allow' && (names(rule) || about.some((key) => holds(rule, key))),
  );
}

function holds({ mcp }: Rule, key: keyof McpMatch): boolean {
  const named = mcp?.[key];
  return named !== undefined && [...named].length > 0;
}

/** What a list entry is. */
export type Entry =
  | { readonly tool: string }
  | { readonly prompt: string }
  | { readonly resource: string }
  | { readonly template: string };

/** What besides the rules bears on whether an entry is shown. */
export interface Showing {
  /** Of the task it is asked for. */
  readonly grant?: Grant | undefined;
  /** As in `ToolDefinition`. */
  readonly hazardous?: boolean;
}

/**
 * Whether an entry of a list is shown: an allow rule names it whose action the task may have, now
 * or after a step-up, and no deny rule does without a condition. What conditions make of its
 * arguments is decided when it is called.
 */
export function isListed(
  { rules }: Destination,
  entry: Entry,
  { grant, hazardous = false }: Showing = {},
): boolean {
  const shown = rules.some((rule) => {
    if (rule.effect !== 'allow' || !entryMatches(rule, entry)) return false;
    const action = raisedBy(rule.action, hazardous);
    return (
      grant === undefined ||
      (action !== undefined && (grant.actions.has(action) || grant.stepUp.has(action)))
    );
  });
  return (
    shown &&
    !rules.some(
      (rule) => rule.effect === 'deny' && rule.when === undefined && entryMatches(rule, entry),
    )
  );
}

function entryMatches({ effect, http, mcp }: Rule, entry: Entry): boolean {
  if (mcp === undefined) return effect === 'deny' && http === undefined;
  if ('tool' in entry) return named(mcp.tools, entry.tool);
  if ('prompt' in entry) return named(mcp.prompts, entry.prompt);
  if ('resource' in entry) return resource(effect, mcp, entry.resource);
  // Up to its first expression a template is literal (RFC 6570); a deny rule is held against the
  // URI once it is asked for.
  const start = entry.template.split('{', 1)[0] ?? '';
  return effect === 'allow' && mcp.resources.some((pattern) => pattern.reaches(start));
}

/**
 * `read` is raised to `write` where the server says that its tool destroys or reaches out; nothing
 * a server says lowers an action.
 */
export function raised(action: string | undefined, { definition }: McpFacts): string | undefined {
  return raisedBy(action, definition?.hazardous === true);
}

function raisedBy(action: string | undefined, hazardous: boolean): string | undefined {
  return action === 'read' && hazardous ? 'write' : action;
}

/** The message in words, for reasons: never an argument. */
export function inWords(message: McpFacts): string {
  const { kind, method } = message;
  if (kind === 'stream') return 'the stream of the server';
  if (kind === 'end') return 'the end of the session';
  const { tool, prompt, resource: uri } = message;
  const name = tool ?? prompt ?? (uri === undefined ? undefined : shownUri(uri));
  const what = `${kind === 'response' ? 'the answer to ' : ''}${cut(method === '' ? 'nothing' : method)}`;
  return name === undefined ? what : `${what} ${cut(name)}`;
}

/** What to write to allow it. */
export function messageHint({ rules }: Destination, message: McpFacts): string {
  const { kind, method, tool, prompt, resource: uri } = message;
  if (kind === 'response')
    return 'requests by the server are allowed by mcp.serverRequests of the destination';
  if (rules.every(({ effect }) => effect === 'deny'))
    return 'the destination has no allow rule: add one';
  const near = rules.find((rule) => rule.effect === 'allow' && messageMatches(rule, message));
  if (near !== undefined)
    return `rule ${near.name} would allow it, but its condition does not hold`;
  if (tool !== undefined) return `add an allow rule whose mcp has tools: [${cut(tool)}]`;
  if (prompt !== undefined) return `add an allow rule whose mcp has prompts: [${cut(prompt)}]`;
  if (uri !== undefined) return 'add an allow rule whose mcp has resources with this URI';
  if (CLIENT_METHODS.has(method)) return `add an allow rule whose mcp has methods: [${method}]`;
  return 'the method is not known here, and what is not known is denied';
}
