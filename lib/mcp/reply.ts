/**
 * What a server says, held against what the agent may see: lists are filtered, definitions of tools noted and compared, requests by the server admitted only where
 * the policy names them. What is withheld is told to `withheld` in words without values; an answer is never withheld but replaced by an error, as somebody
 * waits for it.
 */
import type { Grant } from '../policy/grant.ts';
import { hasVariants, isObject, type Json, type JsonObject } from '../policy/json.ts';
import { isListed, type Entry } from '../policy/mcp.ts';
import { isStateless, type McpVersion, MCP_VERSIONS, NAME, SERVER_NOTIFICATIONS } from '../policy/mcp-methods.ts';
import type { Destination, McpPolicy } from '../policy/model.ts';
import { uriProblem } from '../policy/resource.ts';
import { type Definitions, isHazardous } from './definitions.ts';
import { elicitationProblem } from './elicitation.ts';
import {
  asJson,
  errorText,
  idKey,
  type Id,
  type Message,
  type Notification,
  type Request,
  type Response,
  withMember,
} from './message.ts';
import { note, type Session } from './sessions.ts';

/** What an answer is read against. */
export interface Conversation {
  readonly destination: Destination;
  readonly policy: McpPolicy;
  readonly version: McpVersion;
  readonly session: Session | undefined;
  /** Of the task of the exchange. */
  readonly grant: Grant | undefined;
  /** What the agent asked; undefined on the stream of a session. */
  readonly asked: { readonly id: Id; readonly method: string } | undefined;
  readonly definitions: Definitions;
  withheld(what: string): void;
}

/** What to send on, as JSON or as text already; undefined where the message is withheld. */
export type Admitted = JsonObject | string | undefined;

export function admit(message: Message, c: Conversation): Admitted {
  if (message.kind === 'response') return admitResponse(message, c);
  const refused = message.kind === 'request' ? requestProblem(message, c) : notificationProblem(message, c);
  if (refused === undefined) return asJson(message);
  c.withheld(refused);
  return undefined;
}

function requestProblem(
  { id, method, params }: Request,
  { policy, version, session }: Conversation,
): string | undefined {
  if (isStateless(version) || session === undefined) return 'a request by the server outside of a session';
  if (method !== 'ping' && !policy.serverRequests.has(method))
    return `a request by the server that is not allowed: ${known(method)}`;
  if (method === 'elicitation/create') {
    const problem = elicitationProblem(params, policy);
    if (problem !== undefined) return problem;
  }
  return note(session.asked, idKey(id), method) ? undefined : 'more requests by the server than are answered';
}

/** A method's name where we know it: others are the server's own words. */
function known(method: string): string {
  return /^(?:sampling|elicitation|roots|tasks)\/[a-zA-Z]{1,32}$/.test(method) ? method : 'one that is not known';
}

function notificationProblem({ method, params }: Notification, c: Conversation): string | undefined {
  if (!SERVER_NOTIFICATIONS.has(method)) return 'a notification that is not known';
  if (method === 'notifications/elicitation/complete' && !c.policy.serverRequests.has('elicitation/create'))
    return 'a notification of an elicitation, which is not allowed';
  const uri = params.get('uri');
  if (method !== 'notifications/resources/updated') return undefined;
  return typeof uri === 'string' && isShown(c, { resource: uri })
    ? undefined
    : 'a change of a resource that is not allowed';
}

function admitResponse(message: Response, c: Conversation): Admitted {
  const method = answeredMethod(message, c);
  if (method === undefined) {
    c.withheld('an answer that nobody asked for');
    return undefined;
  }
  if (message.error !== undefined) {
    const problem = errorProblem(message.error, c);
    const answer = { ...message, id: message.id ?? c.asked?.id };
    return problem === undefined ? asJson(answer) : replaced(answer, problem, c);
  }
  const result = message.result ?? new Map<string, Json>();
  const problem = resultProblem(result, c);
  if (problem !== undefined) return replaced(message, problem, c);
  const admitted = admitResult(method, result, c);
  return typeof admitted === 'string' ? replaced(message, admitted, c) : asJson({ ...message, result: admitted });
}

function answeredMethod({ id }: Response, { asked, session }: Conversation): string | undefined {
  if (id === undefined) return asked?.method;
  const key = idKey(id);
  if (asked !== undefined && idKey(asked.id) === key) {
    session?.pending.delete(key);
    return asked.method;
  }
  const method = session?.pending.get(key);
  session?.pending.delete(key);
  return method;
}

function replaced({ id }: Response, problem: string, c: Conversation): string {
  c.withheld(problem);
  const message = `the answer of the server was withheld: ${problem}`;
  return errorText(id, { code: c.policy.denial.code, message, data: { reason: 'denied', retryable: false } });
}

/** URLs to which an error of 2025-11-25 sends the user. */
function errorProblem(error: JsonObject, { policy }: Conversation): string | undefined {
  const data = error.get('data');
  if (isObject(data) && hasVariants(data)) return 'an error that cannot be read';
  const wanted = isObject(data) ? data.get('elicitations') : undefined;
  if (wanted === undefined) return undefined;
  if (!Array.isArray(wanted)) return 'an elicitation that cannot be read';
  for (const one of wanted) {
    const problem = isObject(one) ? elicitationProblem(one, policy) : 'an elicitation that cannot be read';
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** What a result asks of the agent (2026-07-28, multi round-trip requests). */
function resultProblem(result: JsonObject, { policy, version }: Conversation): string | undefined {
  const type = result.get('resultType') ?? 'complete';
  const inputs = result.get('inputRequests');
  if (!isStateless(version)) return undefined;
  if (type !== 'complete' && type !== 'input_required') return 'a result of a type that is not known';
  if (inputs === undefined) return undefined;
  if (!isObject(inputs)) return 'requests by the server that cannot be read';
  for (const input of inputs.values()) {
    if (!isObject(input) || hasVariants(input)) return 'requests by the server that cannot be read';
    const method = input.get('method');
    const params = input.get('params');
    if (typeof method !== 'string' || !policy.serverRequests.has(method))
      return `a request by the server that is not allowed: ${typeof method === 'string' ? known(method) : 'none'}`;
    const problem =
      method === 'elicitation/create' && isObject(params) ? elicitationProblem(params, policy) : undefined;
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The result as it is sent on, or why it is not. */
function admitResult(method: string, result: JsonObject, c: Conversation): JsonObject | string {
  switch (method) {
    case 'initialize':
      return negotiated(result, c);
    case 'server/discover':
      return discovered(result, c);
    case 'tools/list':
      return filtered(result, c, { member: 'tools', keep: (entry) => keepTool(entry, c) });
    case 'prompts/list':
      return filtered(result, c, {
        member: 'prompts',
        keep: (entry) => keepNamed(entry, 'name', (prompt) => ({ prompt }), c),
      });
    case 'resources/list':
      return filtered(result, c, { member: 'resources', keep: (entry) => keepResource(entry, c) });
    case 'resources/templates/list':
      return filtered(result, c, {
        member: 'resourceTemplates',
        keep: (entry) => keepNamed(entry, 'uriTemplate', (template) => ({ template }), c),
      });
    default:
      return result;
  }
}

function negotiated(result: JsonObject, { policy, session }: Conversation): JsonObject | string {
  const version = MCP_VERSIONS.find((one) => one === result.get('protocolVersion'));
  if (version === undefined || isStateless(version) || !policy.versions.has(version))
    return 'a protocol version that is not allowed';
  if (session !== undefined) session.version = version;
  return result;
}

function discovered(result: JsonObject, { policy }: Conversation): JsonObject | string {
  const versions = result.get('supportedVersions');
  if (!Array.isArray(versions)) return result;
  const allowed: ReadonlySet<Json> = policy.versions;
  return withMember(
    result,
    'supportedVersions',
    versions.filter((version) => allowed.has(version)),
  );
}

/** Entries of one page: each is held against the rules, and a tool digested, in one go. */
const MOST_ENTRIES = 4096;

interface Listing {
  readonly member: string;
  readonly keep: (entry: JsonObject) => string | undefined;
}

function filtered(result: JsonObject, c: Conversation, { member, keep }: Listing): JsonObject | string {
  const entries = result.get(member);
  if (!Array.isArray(entries)) return `a list without ${member}`;
  if (entries.length > MOST_ENTRIES) return `a list of more than ${MOST_ENTRIES} ${member}`;
  const reasons = new Map<string, number>();
  const kept = entries.filter((entry) => {
    const reason = isObject(entry) && !hasVariants(entry) ? keep(entry) : 'that cannot be read';
    if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    return reason === undefined;
  });
  for (const [reason, count] of reasons) c.withheld(`${count} of ${entries.length} ${member} ${reason}`);
  const list = withMember(result, member, kept);
  // Not everybody's list: nobody between may give it to others (2026-07-28, caching).
  return list.has('cacheScope') ? withMember(list, 'cacheScope', 'private') : list;
}

function keepTool(entry: JsonObject, c: Conversation): string | undefined {
  const name = entry.get('name');
  if (typeof name !== 'string' || !NAME.test(name)) return 'with a name that is not one';
  const tool = { tool: name };
  // Noted for whoever may call it, whether or not this task is shown it: what it says of itself counts when it is called.
  if (c.destination.mode !== 'report' && !isListed(c.destination, tool)) return 'not allowed';
  if (!c.definitions.see(c.destination, name, entry)) return 'whose definition is not the pinned one';
  return isShown(c, tool, isHazardous(entry)) ? undefined : 'not allowed';
}

function keepNamed(
  entry: JsonObject,
  member: string,
  about: (name: string) => Entry,
  c: Conversation,
): string | undefined {
  const name = entry.get(member);
  return typeof name === 'string' && isShown(c, about(name)) ? undefined : 'not allowed';
}

function keepResource(entry: JsonObject, c: Conversation): string | undefined {
  const uri = entry.get('uri');
  if (typeof uri !== 'string' || uriProblem(uri) !== undefined) return 'with a URI that is not taken';
  return isShown(c, { resource: uri }) ? undefined : 'not allowed';
}

/** In report mode nothing that rules say is held back. */
function isShown({ destination, grant }: Conversation, entry: Entry, hazardous = false): boolean {
  return destination.mode === 'report' || isListed(destination, entry, { grant, hazardous });
}
