/**
 * What a server says, held against what the agent may see: lists are filtered, definitions of tools
 * noted and compared, requests by the server admitted only where the policy names them. What is
 * withheld is told to `withheld` in words without values; an answer is never withheld but replaced
 * by an error, as somebody waits for it.
 */
import { MCP_VERSIONS, SERVER_NOTIFICATIONS, isStateless } from '../policy/model/mcp-methods.ts';
import { type Json, type JsonObject, isObject } from '../schema/json.ts';
import type { Conversation } from './conversation.ts';
import {
  askedProblem,
  elicitationProblem,
  elicitationsProblem,
  knownMethod,
} from './elicitation.ts';
import { remember } from './given.ts';
import { meantBy, subscribed } from './ids.ts';
import { filtered, isShown } from './lists.ts';
import {
  type Message,
  type Notification,
  type Request,
  type Response,
  asJson,
  errorText,
  idKey,
  withMember,
} from './message.ts';
import { isToken } from './meta.ts';
import { serverOffers } from './offers.ts';
import { type Pending, note } from './sessions.ts';

/** Tokens for progress of one session; more push out the oldest. */
const MAX_TOKENS = 256;

/** What to send on, as JSON or as text already; undefined where the message is withheld. */
export type Admitted = JsonObject | string | undefined;

export function admit(message: Message, c: Conversation): Admitted {
  if (message.kind === 'response') return admitResponse(message, c);
  const admitted =
    message.kind === 'request' ? admitRequest(message, c) : admitNotification(message, c);
  if (typeof admitted !== 'string') return asJson(admitted);
  c.withheld(admitted);
  return undefined;
}

/** The request as it is sent on, or why it is not. */
function admitRequest(
  message: Request,
  { policy, version, session, action, rule }: Conversation,
): Request | string {
  const { id, method, params } = message;
  if (isStateless(version) || session === undefined)
    return 'a request by the server outside of a session';
  if (method !== 'ping' && !policy.serverRequests.has(method))
    return `a request by the server that is not allowed: ${knownMethod(method)}`;
  if (method === 'elicitation/create') {
    const problem = elicitationProblem(params, policy);
    if (problem !== undefined) return problem;
  }
  if (!note(session.asked, idKey(id), { method, action, rule }))
    return 'more requests by the server than are answered';
  const meta = params.get('_meta');
  const token = isObject(meta) ? meta.get('progressToken') : undefined;
  if (isToken(token)) remember(session.tokens, idKey(token), MAX_TOKENS);
  return message;
}

/** The notification as it is sent on, or why it is not. */
function admitNotification(message: Notification, c: Conversation): Notification | string {
  const { method } = message;
  if (!SERVER_NOTIFICATIONS.has(method)) return 'a notification that is not known';
  const params = subscribed(message.params, c);
  switch (method) {
    case 'notifications/progress': {
      const meant = meantBy(params.get('progressToken'), c);
      if (meant?.token === undefined) return 'progress of what nobody waits for';
      return { ...message, params: withMember(params, 'progressToken', meant.token) };
    }
    case 'notifications/cancelled': {
      const id = params.get('requestId');
      if (isToken(id) && c.session?.asked.delete(idKey(id)) === true) return { ...message, params };
      const meant = meantBy(id, c);
      if (meant === undefined) return 'the end of what nobody waits for';
      return { ...message, params: withMember(params, 'requestId', meant.id) };
    }
    case 'notifications/elicitation/complete':
      if (c.policy.serverRequests.has('elicitation/create')) return { ...message, params };
      return 'a notification of an elicitation, which is not allowed';
    case 'notifications/resources/updated': {
      const uri = params.get('uri');
      if (typeof uri === 'string' && isShown(c, { resource: uri })) return { ...message, params };
      return 'a change of a resource that is not allowed';
    }
    case 'notifications/tools/list_changed':
      c.tools.outdated();
      return { ...message, params };
    default:
      return { ...message, params };
  }
}

function admitResponse(message: Response, c: Conversation): Admitted {
  const asked = answered(message, c);
  if (asked === undefined) {
    c.withheld('an answer that nobody asked for');
    return undefined;
  }
  const answer = { ...message, id: asked.id };
  if (message.error !== undefined) {
    const problem = elicitationsProblem(message.error, c.policy);
    return problem === undefined ? asJson(answer) : replaced(answer, problem, c);
  }
  const result = subscribed(message.result ?? new Map<string, Json>(), c);
  const problem = resultProblem(result, c);
  if (problem !== undefined) return replaced(answer, problem, c);
  const admitted = admitResult(asked.method, result, c);
  return typeof admitted === 'string'
    ? replaced(answer, admitted, c)
    : asJson({ ...answer, result: admitted });
}

/** The request that an answer is to; it is over then. */
function answered({ id }: Response, { asked, session }: Conversation): Pending | undefined {
  const meant =
    id === undefined ? asked : isAsked(id, asked) ? asked : session?.pending.get(idKey(id));
  if (meant === undefined || meant.over) return undefined;
  session?.pending.delete(idKey(meant.sent));
  meant.over = true;
  return meant;
}

function isAsked(id: NonNullable<Response['id']>, asked: Pending | undefined): boolean {
  return asked !== undefined && idKey(asked.sent) === idKey(id);
}

function replaced({ id }: Response, problem: string, c: Conversation): string {
  c.withheld(problem);
  const message = `the answer of the server was withheld: ${problem}`;
  return errorText(id, {
    code: c.policy.denial.code,
    message,
    data: { reason: 'denied', retryable: false },
  });
}

/** What a result asks of the agent (2026-07-28, multi round-trip requests). */
function resultProblem(result: JsonObject, { policy, version }: Conversation): string | undefined {
  const type = result.get('resultType') ?? 'complete';
  const inputs = result.get('inputRequests');
  if (!isStateless(version)) return undefined;
  if (type !== 'complete' && type !== 'input_required')
    return 'a result of a type that is not known';
  if (inputs === undefined) return undefined;
  if (!isObject(inputs)) return 'requests by the server that cannot be read';
  for (const input of inputs.values()) {
    const problem = askedProblem(input, policy);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The result as it is sent on, or why it is not. */
function admitResult(method: string, result: JsonObject, c: Conversation): JsonObject | string {
  const state = result.get('requestState');
  if (typeof state === 'string') c.gave(`${method} requestState`, state);
  if (method === 'initialize') return negotiated(result, c);
  if (method === 'server/discover') return discovered(result, c);
  return filtered(method, result, c) ?? result;
}

function negotiated(result: JsonObject, c: Conversation): JsonObject | string {
  const { policy, session } = c;
  const version = MCP_VERSIONS.find((one) => one === result.get('protocolVersion'));
  if (version === undefined || isStateless(version) || !policy.versions.has(version))
    return 'a protocol version that is not allowed';
  if (session !== undefined) session.version = version;
  return cut(result, c);
}

/** Without what policy does not leave of what the server can do. */
function cut(result: JsonObject, { destination }: Conversation): JsonObject {
  const offered = result.get('capabilities');
  return isObject(offered)
    ? withMember(result, 'capabilities', serverOffers(offered, destination))
    : result;
}

function discovered(result: JsonObject, c: Conversation): JsonObject | string {
  const versions = result.get('supportedVersions');
  const left = cut(result, c);
  if (!Array.isArray(versions)) return left;
  const allowed: ReadonlySet<Json> = c.policy.versions;
  return withMember(
    left,
    'supportedVersions',
    versions.filter((version) => allowed.has(version)),
  );
}
