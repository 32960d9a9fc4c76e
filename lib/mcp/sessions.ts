/**
 * Sessions of MCP before 2026-07-28: each belongs to whoever opened it. A session id that is shown
 * from elsewhere, or that is not known (any more), is answered with 404, upon which a client opens
 * another one (Streamable HTTP, session management). In memory: after a restart all are unknown.
 */
import { Fault } from '../base/fault.ts';
import type { McpVersion } from '../policy/model/mcp-methods.ts';
import type { Id } from './message.ts';

/** Who opened it; all of it must be equal. */
export interface Owner {
  /** Name of the agent; undefined: nobody has proved to be one. */
  readonly agent?: string | undefined;
  readonly destination: string;
  /** Path that took its messages. */
  readonly endpoint: string;
  /** The way in. */
  readonly entry: string;
  /** SPIFFE ID that was shown to the server, where one is. */
  readonly identity: string | undefined;
  /** The task of the request; a session does not outlive its use by one. */
  readonly task?: string | undefined;
}

export interface Session {
  readonly id: string;
  readonly owner: Owner;
  /** What was negotiated; undefined until the answer to initialize has been read. */
  version: McpVersion | undefined;
  /** Requests by the server that the agent may answer, by the key of the id. */
  readonly asked: Map<string, Asked>;
  /** Requests of the agent whose answers may still come, by the key of the id that was sent. */
  readonly pending: Map<string, Pending>;
  /** Keys of the tokens with which the server wants to be told of progress. */
  readonly tokens: Set<string>;
  /** Digests of the ids of events: what a stream may be resumed at. */
  readonly events: Set<string>;
}

/** A request by the server. */
interface Asked {
  readonly method: string;
  /** Action of the call in which it asked, and name of the rule that allowed that. */
  readonly action: string;
  readonly rule?: string | undefined;
}

/** A request of the agent. */
export interface Pending {
  /** Its id to the server. */
  readonly sent: Id;
  /** Its id to the agent. */
  readonly id: Id;
  readonly method: string;
  /** With which the agent wants to be told of its progress. */
  readonly token: Id | undefined;
  /** It was answered: nothing more is an answer to it. */
  over: boolean;
}

export interface Sessions {
  open(id: string, owner: Owner): Session;
  /** Throws a Fault `session-unknown`. */
  find(id: string, owner: Owner): Session;
  forget(session: Session): void;
}

/** Of each agent; more push out the one that was used longest ago. */
const MAX_SESSIONS = 10_000;
const MAX_NOTED = 256;
/** Visible ASCII (Streamable HTTP, session management). */
export const SESSION_ID = /^[\x21-\x7e]{1,256}$/;

export function sessions(most = MAX_SESSIONS): Sessions {
  const byAgent = new Map<string | undefined, Map<string, Session>>();
  const knownOf = ({ agent }: Owner): Map<string, Session> => {
    let known = byAgent.get(agent);
    if (known === undefined) byAgent.set(agent, (known = new Map()));
    return known;
  };
  const keyOf = (id: string, { destination }: Owner): string => `${destination} ${id}`;
  return {
    open(id, owner) {
      const session: Session = {
        id,
        owner,
        version: undefined,
        asked: new Map(),
        pending: new Map(),
        tokens: new Set(),
        events: new Set(),
      };
      const known = knownOf(owner);
      const key = keyOf(id, owner);
      known.delete(key);
      for (const oldest of known.keys()) {
        if (known.size < most) break;
        known.delete(oldest);
      }
      known.set(key, session);
      return session;
    },
    find(id, owner) {
      const known = knownOf(owner);
      const key = keyOf(id, owner);
      const session = known.get(key);
      if (session === undefined || !sameOwner(session.owner, owner))
        throw new Fault(
          'session-unknown',
          'the session is not known here, or was opened by somebody else',
          {
            hint: 'open a session with initialize',
            at: 'mcp-session-id',
          },
        );
      known.delete(key);
      known.set(key, session);
      return session;
    },
    forget: (session) => void knownOf(session.owner).delete(keyOf(session.id, session.owner)),
  };
}

function sameOwner(one: Owner, other: Owner): boolean {
  if (one.endpoint !== other.endpoint || one.entry !== other.entry) return false;
  return one.agent === other.agent && one.identity === other.identity && one.task === other.task;
}

/** Remembers an id, and no more than so many. */
export function note<T>(ids: Map<string, T>, key: string, what: T): boolean {
  if (ids.size >= MAX_NOTED && !ids.has(key)) return false;
  ids.set(key, what);
  return true;
}

/** The same; the oldest makes room. */
export function keep<T>(ids: Map<string, T>, key: string, what: T): void {
  for (const oldest of ids.keys()) {
    if (ids.size < MAX_NOTED) break;
    ids.delete(oldest);
  }
  ids.set(key, what);
}
