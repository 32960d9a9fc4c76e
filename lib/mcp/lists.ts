/**
 * Lists of a server, cut to what the agent may see: entries that policy does not allow, and tools
 * whose definition is not the pinned one, are left out and told to `withheld`.
 */
import { uriProblem } from '../net/resource.ts';
import { NAME } from '../policy/model/mcp-methods.ts';
import { type Entry, isListed } from '../policy/protocols/mcp-lists.ts';
import { type Json, type JsonObject, hasVariants, isObject } from '../schema/json.ts';
import type { Conversation } from './conversation.ts';
import { isHazardous } from './definitions.ts';
import { withMember } from './message.ts';

/** Entries of one page: each is held against the rules, and a tool digested, in one go. */
export const MAX_ENTRIES = 2048;

interface Listing {
  readonly member: string;
  readonly keep: (entry: JsonObject, c: Conversation) => string | undefined;
}

const LISTS: Readonly<Record<string, Listing | undefined>> = Object.freeze({
  'tools/list': { member: 'tools', keep: keepTool },
  'prompts/list': { member: 'prompts', keep: keepNamed('name', (prompt) => ({ prompt })) },
  'resources/list': { member: 'resources', keep: keepResource },
  'resources/templates/list': {
    member: 'resourceTemplates',
    keep: keepNamed('uriTemplate', (template) => ({ template })),
  },
});

/** The result of a method that lists; undefined for every other, a text for one that is no list. */
export function filtered(
  method: string,
  result: JsonObject,
  c: Conversation,
): JsonObject | string | undefined {
  const listing = LISTS[method];
  if (listing === undefined) return undefined;
  const { member, keep } = listing;
  const entries = result.get(member);
  if (!Array.isArray(entries)) return `a list without ${member}`;
  if (entries.length > MAX_ENTRIES) return `a list of more than ${MAX_ENTRIES} ${member}`;
  const reasons = new Map<string, number>();
  const kept: Json[] = [];
  for (const entry of entries as readonly Json[]) {
    const reason = isObject(entry) && !hasVariants(entry) ? keep(entry, c) : 'that cannot be read';
    if (reason === undefined)
      kept.push(member === 'tools' && isObject(entry) ? withoutTask(entry) : entry);
    else reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  for (const [reason, count] of reasons)
    c.withheld(`${count} of ${entries.length} ${member} ${reason}`);
  const next = result.get('nextCursor');
  if (typeof next === 'string') c.gave(`${method} cursor`, next);
  const list = withMember(result, member, kept);
  // Not everybody's list: nobody between may give it to others (2026-07-28, caching).
  return list.has('cacheScope') ? withMember(list, 'cacheScope', 'private') : list;
}

function keepTool(entry: JsonObject, c: Conversation): string | undefined {
  const name = entry.get('name');
  if (typeof name !== 'string') return 'with a name that is not one';
  if (!NAME.test(name)) {
    c.unnamed(name);
    return 'with a name that is not one';
  }
  const tool = { tool: name };
  // Noted for whoever may call it, whether or not this task is shown it: what it says of itself
  // counts when it is called.
  if (c.destination.mode !== 'report' && !isListed(c.destination, tool)) return 'not allowed';
  if (!c.tools.see(name, entry)) return 'whose definition is not the pinned one';
  if (taskSupport(entry) === 'required')
    return 'that are called as tasks alone, which are not served';
  return isShown(c, tool, isHazardous(entry)) ? undefined : 'not allowed';
}

function taskSupport(tool: JsonObject): Json | undefined {
  const execution = tool.get('execution');
  return isObject(execution) ? execution.get('taskSupport') : undefined;
}

/** Tasks are not served: a tool that may be called as one is called without. */
function withoutTask(tool: JsonObject): JsonObject {
  const execution = tool.get('execution');
  if (!isObject(execution) || !execution.has('taskSupport')) return tool;
  return withMember(tool, 'execution', withMember(execution, 'taskSupport', 'forbidden'));
}

function keepNamed(member: string, about: (name: string) => Entry): Listing['keep'] {
  return (entry, c) => {
    const name = entry.get(member);
    return typeof name === 'string' && isShown(c, about(name)) ? undefined : 'not allowed';
  };
}

function keepResource(entry: JsonObject, c: Conversation): string | undefined {
  const uri = entry.get('uri');
  if (typeof uri !== 'string' || uriProblem(uri) !== undefined)
    return 'with a URI that is not taken';
  return isShown(c, { resource: uri }) ? undefined : 'not allowed';
}

/** In report mode nothing that rules say is held back. */
export function isShown(
  { destination, grant }: Conversation,
  entry: Entry,
  hazardous = false,
): boolean {
  return destination.mode === 'report' || isListed(destination, entry, { grant, hazardous });
}
