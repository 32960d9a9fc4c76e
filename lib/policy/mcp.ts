/**
 * Whether a rule is about a message of MCP. A rule names tools, prompts, resources or methods; an allow rule is about what it names and nothing else. What belongs to
 * every conversation (handshake, ping, lists, streams) is permitted where any rule allows anything, unless a deny rule names it: lists show only what is allowed.
 */
import type { McpFacts } from './facts.ts';
import type { Grant } from './grant.ts';
import { CLIENT_METHODS } from './mcp-methods.ts';
import type { Destination, McpMatch, Rule } from './model.ts';
import { cut, shownUri } from './shown.ts';

/** In a list of tools or prompts: every one. */
export const EVERY = '*';

export function messageMatches({ effect, http, mcp }: Rule, message: McpFacts): boolean {
  // A rule about HTTP is about what is no message.
  if (mcp === undefined) return effect === 'deny' && http === undefined;
  if (message.kind !== 'response' && mcp.methods.has(message.method)) return true;
  return (
    named(mcp.tools, message.tool) || named(mcp.prompts, message.prompt) || resource(effect, mcp, message.resource)
  );
}

function named(names: ReadonlySet<string>, name: string | undefined): boolean {
  return name !== undefined && (names.has(name) || names.has(EVERY));
}

function resource(effect: Rule['effect'], { resources }: McpMatch, uri: string | undefined): boolean {
  if (uri === undefined) return false;
  return resources.some((pattern) => (effect === 'deny' ? pattern.denies(uri) : pattern.matches(uri)));
}

/**
 * Whether a message is allowed where any rule allows anything: it belongs to every conversation, or answers a request that the server may make.
 */
export function needsNoRule({ rules, mcp }: Destination, { kind, method }: McpFacts): boolean {
  if (!rules.some(({ effect }) => effect === 'allow')) return false;
  if (kind === 'stream' || kind === 'end') return true;
  if (kind === 'response') return method === 'ping' || mcp?.serverRequests.has(method) === true;
  return CLIENT_METHODS.get(method)?.subject === 'protocol';
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
 * Whether an entry of a list is shown: an allow rule names it whose action the task may have, now or after a step-up, and no deny rule does without a condition.
 * What conditions make of its arguments is decided when it is called.
 */
export function isListed({ rules }: Destination, entry: Entry, { grant, hazardous = false }: Showing = {}): boolean {
  const shown = rules.some((rule) => {
    if (rule.effect !== 'allow' || !entryMatches(rule, entry)) return false;
    const action = raisedBy(rule.action, hazardous);
    return grant === undefined || (action !== undefined && (grant.actions.has(action) || grant.stepUp.has(action)));
  });
  return shown && !rules.some((rule) => rule.effect === 'deny' && rule.when === undefined && entryMatches(rule, entry));
}

function entryMatches({ effect, http, mcp }: Rule, entry: Entry): boolean {
  if (mcp === undefined) return effect === 'deny' && http === undefined;
  if ('tool' in entry) return named(mcp.tools, entry.tool);
  if ('prompt' in entry) return named(mcp.prompts, entry.prompt);
  if ('resource' in entry) return resource(effect, mcp, entry.resource);
  // Up to its first expression a template is literal (RFC 6570); a deny rule is held against the URI once it is asked for.
  const start = entry.template.split('{', 1)[0] ?? '';
  return effect === 'allow' && mcp.resources.some((pattern) => pattern.reaches(start));
}

/** `read` is raised to `write` where the server says that its tool destroys or reaches out; nothing a server says lowers an action. */
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
  if (kind === 'response') return 'requests by the server are allowed by mcp.serverRequests of the destination';
  if (rules.every(({ effect }) => effect === 'deny')) return 'the destination has no allow rule: add one';
  const near = rules.find((rule) => rule.effect === 'allow' && messageMatches(rule, message));
  if (near !== undefined) return `rule ${near.name} would allow it, but its condition does not hold`;
  const conditional = rules.find((rule) => rule.effect === 'allow' && messageMatches(rule, message));
  if (conditional !== undefined) return `rule ${conditional.name} allows it only where its condition holds`;
  if (tool !== undefined) return `add an allow rule whose mcp has tools: [${cut(tool)}]`;
  if (prompt !== undefined) return `add an allow rule whose mcp has prompts: [${cut(prompt)}]`;
  if (uri !== undefined) return 'add an allow rule whose mcp has resources with this URI';
  if (CLIENT_METHODS.has(method)) return `add an allow rule whose mcp has methods: [${method}]`;
  return 'the method is not known here, and what is not known is denied';
}
