/** What rules leave of the lists of an MCP server, and of what it offers. */
import type { Grant } from '../model/grant.ts';
import { CLIENT_METHODS, type Subject } from '../model/mcp-methods.ts';
import { isNamed, isNamedResource, raised } from './mcp-rules.ts';
import type { McpDestination, McpMatch, McpRule } from './mcp-service.ts';

/** Subjects of methods that are not known by their name alone, and what of a rule is about them. */
const ABOUT: Readonly<Partial<Record<Subject, readonly (keyof McpMatch)[]>>> = Object.freeze({
  resource: ['resources'],
  reference: ['prompts', 'resources'],
});

/**
 * Whether a rule could allow some message of this method: what policy leaves of what a server can
 * do.
 */
export function mayAsk({ service: { rules } }: McpDestination, method: string): boolean {
  const names = (rule: McpRule): boolean => rule.mcp.methods.has(method);
  if (rules.some((rule) => rule.effect === 'deny' && rule.when === undefined && names(rule)))
    return false;
  const subject = CLIENT_METHODS.get(method)?.subject;
  if (subject === 'protocol') return rules.some(({ effect }) => effect === 'allow');
  const about = (subject === undefined ? undefined : ABOUT[subject]) ?? [];
  return rules.some(
    (rule) => rule.effect === 'allow' && (names(rule) || about.some((key) => holds(rule, key))),
  );
}

function holds({ mcp }: McpRule, key: keyof McpMatch): boolean {
  return [...mcp[key]].length > 0;
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
  { service: { rules } }: McpDestination,
  entry: Entry,
  { grant, hazardous = false }: Showing = {},
): boolean {
  const shown = rules.some((rule) => {
    if (rule.effect !== 'allow' || !entryMatches(rule, entry)) return false;
    const action = raised(rule.action, hazardous);
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

function entryMatches({ effect, mcp }: McpRule, entry: Entry): boolean {
  if ('tool' in entry) return isNamed(mcp.tools, entry.tool);
  if ('prompt' in entry) return isNamed(mcp.prompts, entry.prompt);
  if ('resource' in entry) return isNamedResource(effect, mcp, entry.resource);
  // Up to its first expression a template is literal (RFC 6570); a deny rule is held against the
  // URI once it is asked for.
  const start = entry.template.split('{', 1)[0] ?? '';
  return effect === 'allow' && mcp.resources.some((pattern) => pattern.reaches(start));
}
