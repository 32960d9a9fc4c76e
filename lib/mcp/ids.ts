/**
 * Ids of requests, and tokens for their progress, as the server sees them: numbers of ours in place
 * of the agent's, which may be texts of any words. What the server says of them is mapped back.
 */
import { isObject, type Json, JsonNumber, type JsonObject } from '../schema/json.ts';
import { idKey, type Id, type Message, withMember } from './message.ts';
import { isToken, META_SUBSCRIPTION } from './meta.ts';
import type { Pending, Session } from './sessions.ts';

/** Numbers that are not used twice in a process. */
export interface Ids {
  next(): JsonNumber;
}

export function ids(): Ids {
  let last = 0;
  return { next: () => new JsonNumber(String((last += 1))) };
}

export interface Mapped {
  readonly message: Message;
  /** Of a request: what it is to the agent, and its id to the server. */
  readonly pending: Pending | undefined;
}

export function mapped(message: Message, numbers: Ids, session: Session | undefined): Mapped {
  if (message.kind === 'request') {
    const sent = numbers.next();
    const { id, method, params } = message;
    const meta = params.get('_meta');
    const token = isObject(meta) ? meta.get('progressToken') : undefined;
    const pending = { sent, id, method, token: isToken(token) ? token : undefined, over: false };
    const own =
      isObject(meta) && token !== undefined ? withMember(meta, 'progressToken', sent) : meta;
    const left = own === undefined || own === meta ? params : withMember(params, '_meta', own);
    return { message: { ...message, id: sent, params: left }, pending };
  }
  if (message.kind !== 'notification' || message.method !== 'notifications/cancelled')
    return { message, pending: undefined };
  const { params } = message;
  // Of a request that is over, or was never made: of one that never is.
  const requestId = sentFor(params.get('requestId'), session) ?? numbers.next();
  return {
    message: { ...message, params: withMember(params, 'requestId', requestId) },
    pending: undefined,
  };
}

function sentFor(id: Json | undefined, session: Session | undefined): Id | undefined {
  if (!isToken(id)) return undefined;
  const key = idKey(id);
  return session?.pending.values().find((one) => idKey(one.id) === key)?.sent;
}

/** What is open on a stream: its own request, and those of its session. */
export interface Open {
  readonly asked: Pending | undefined;
  readonly session: Session | undefined;
}

/** The request that a server means; a number may come back as a text. */
export function meantBy(value: Json | undefined, { asked, session }: Open): Pending | undefined {
  if (!isToken(value)) return undefined;
  const key = value instanceof JsonNumber ? value.text : value;
  if (asked !== undefined && idKey(asked.sent) === key) return asked;
  return session?.pending.get(key);
}

/** `_meta` with the agent's id of the request whose subscription it belongs to. */
export function subscribed(holder: JsonObject, open: Open): JsonObject {
  const meta = holder.get('_meta');
  const value = isObject(meta) ? meta.get(META_SUBSCRIPTION) : undefined;
  if (!isObject(meta) || value === undefined) return holder;
  const meant = meantBy(value, open);
  return meant === undefined
    ? holder
    : withMember(holder, '_meta', withMember(meta, META_SUBSCRIPTION, meant.id));
}
