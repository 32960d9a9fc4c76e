/**
 * The corpus as data. An attack belongs to a row of rows.ts and is a list of attempts that must all
 * come to the same end. An attempt says what is asked for and how, never by which way in: entries/
 * renders it for each entry point, so that every way in is held to every attack it can be given.
 * The corpus grows by rows here, by one file in entries/ for another way in, and by nothing else.
 */
import type { Code } from '../../lib/base/fault.ts';
import type { HttpLimits } from '../../lib/http/limits.ts';
import type { LeafOptions } from '../support/authority.ts';
import type { DestinationOptions } from '../support/destination.ts';
import type { HelloSpec } from './hello.ts';

/**
 * What of an exchange the agent, the upstream or DNS can bend; an entry point has some of them, and
 * a row attacks one or more.
 */
export type Facet =
  | 'authority' // who is asked for
  | 'target' // the request target as a whole
  | 'method'
  | 'path'
  | 'fields'
  | 'body'
  | 'head' // the bytes of an HTTP/1.1 head
  | 'later' // a second request on one connection
  | 'upgrade' // leaving HTTP
  | 'hello' // the TLS that the agent speaks itself
  | 'inside' // HTTP inside the agent's TLS, which we end
  | 'message' // JSON-RPC in the body
  | 'h2' // HTTP/2 framing
  | 'address' // what DNS answers
  | 'peer' // who the upstream is
  | 'answer' // what the upstream says
  | 'any'; // every way in

/** One try. What is left out is as an honest agent has it. */
export interface Attempt {
  readonly method?: string;
  /** `host` or `host:port` that is asked for. */
  readonly authority?: string;
  /** Values of Host; by default the authority, once. */
  readonly host?: readonly string[];
  /** Path and query. */
  readonly path?: string;
  /** The whole request target, instead of what the way in makes of authority and path. */
  readonly target?: string;
  /** A local listener is sent absolute-form instead of origin-form. */
  readonly absolute?: boolean;
  /** Whole field lines, `Name: value`. */
  readonly fields?: readonly string[];
  /** Whom Proxy-Authorization names; in a world with tasks. */
  readonly task?: Named;
  /** What follows the head, as it is. */
  readonly body?: string;
  readonly version?: string;
  /** Replaced once in the bytes that are sent. */
  readonly replace?: readonly [from: string, to: string];
  /** Nothing is sent behind it, because its end is what is missing. */
  readonly unfinished?: boolean;
  /** What the agent says in the tunnel. */
  readonly hello?: HelloSpec;
  /** What DNS answers, one answer for each time it is asked; the last one stands. */
  readonly dns?: readonly (readonly string[])[];
  /** Who answers at the address. */
  readonly peer?: {
    readonly id?: string;
    readonly leaf?: LeafOptions;
    readonly from?: 'another-authority' | 'another-domain';
  };
  /** What the upstream says, as it is. */
  readonly answer?: string;
  /**
   * What goes before it: an honest exchange on the same connection, one that does not end on
   * another, or one and then a new SVID.
   */
  readonly after?: 'a-good-one' | 'a-busy-one' | 'rotation';
}

/**
 * Where attempts are made, when it is not the usual place; attempts of one world share its proxy
 * and upstream.
 */
export interface World {
  /** Over the usual destination of the entry point. */
  readonly destination?: DestinationOptions;
  /** The destination has no upstream address of its own: its name is resolved. */
  readonly resolved?: true;
  /** The destination leads to a listener of ours. */
  readonly self?: 'forward' | 'health' | 'agentApi';
  readonly limits?: Partial<HttpLimits>;
  readonly identity?: 'none' | 'expired';
  /** No record can be written. */
  readonly audit?: 'failing';
  /** A credential is sent in the agent's stead. */
  readonly token?: string;
  /** Tasks can be open. */
  readonly tasks?: true;
  /** The chain of what is trusted has other domains in it. */
  readonly federated?: true;
}

/** A refusal. */
export interface Refused {
  readonly code: Code;
  /** Default: the status of the code; `cut` where an answer has been given, or cannot be. */
  readonly status?: number | 'cut';
  /**
   * At which step: when it was read (a `refused` record), judged (`decided` as deny), or carried
   * (`decided` as allow, `ended` with the code).
   */
  readonly when?: 'read' | 'judged' | 'carried';
  /** In the reason of the record. */
  readonly reason?: RegExp;
  /**
   * Default `unreached`: not even a TCP connection. `silent`: not one byte behind TLS. `asked`: the
   * request was sent, its answer was not believed.
   */
  readonly upstream?: 'unreached' | 'silent' | 'asked';
}

/** What gets through, and what is left of it. */
export interface Passed {
  /** Of the answer to the agent; default 200, or what the way in has for it. */
  readonly status?: number;
  /** The path and query that the upstream sees; where the way in has paths. */
  readonly path?: string;
  /** The host that is judged, recorded and sent. */
  readonly host?: string;
  /** Must be, must not be, in what the upstream receives, whatever the case. */
  readonly sent?: readonly RegExp[];
  readonly unsent?: readonly RegExp[];
  /** Must not be in what the agent receives. */
  readonly unanswered?: readonly RegExp[];
  /** The connection to the upstream is a new one, with the newest SVID on it. */
  readonly fresh?: true;
}

export type Expect = { readonly refused: Refused } | { readonly passed: Passed };

export interface Attack {
  /** In rows.ts. */
  readonly row: string;
  readonly title: string;
  /** Which of the row's facets; default its first. */
  readonly facet?: Facet;
  /** Names of the only entry points it is for. */
  readonly only?: readonly string[];
  readonly attempts: readonly Attempt[];
  readonly expect: Expect;
  /** Where one way in has another end for it: by its name, by its door, or `streams` for HTTP/2. */
  readonly at?: Readonly<Record<string, Expect>>;
  readonly world?: World;
}

export const refused = (code: Code, more: Omit<Refused, 'code'> = {}): Expect => ({
  refused: { code, ...more },
});
export const passed = (what: Passed = {}): Expect => ({ passed: what });
/** A tunnel whose requests are judged takes, dials and needs nothing itself. */
export const CARRIES_NOTHING: Readonly<Record<string, Expect>> = Object.freeze({
  'CONNECT, intercepted': passed(),
  'CONNECT, inspected': passed(),
});
/** Where a way in belongs to one host, another is not denied but misdirected. */
export const ELSEWHERE: Readonly<Record<string, Expect>> = Object.freeze({
  listener: refused('misdirected'),
  intercept: refused('misdirected', { when: 'read' }),
  cleartext: refused('misdirected', { when: 'read' }),
});

/** How an attempt names a task. */
export type Named =
  | 'live'
  | 'completed'
  | 'revoked'
  | 'secret of another'
  | 'id of another'
  | 'sub-agent of one that ended'
  | 'id alone'
  | 'secret alone'
  | 'person'
  | 'nothing'
  | 'bearer'
  | 'digest'
  | 'behind text'
  | 'before text'
  | 'not base64'
  | 'for elsewhere'
  | 'for other data'
  | 'spent'
  | 'not approved'
  | 'approved for elsewhere'
  | 'approved for another rule'
  | 'approved for other parameters'
  | 'live twice'
  | 'dead before live'
  | 'live before dead';
