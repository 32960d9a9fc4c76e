/**
 * From a request head to what is judged, and from what is judged to what is sent: the same values,
 * read once and strictly. Ambiguous means refused.
 * - The forward port takes absolute-form `http://` and CONNECT with authority-form (RFC 9112
 *   section 3.2), a local listener takes origin-form, or absolute-form that names its own
 *   destination; inside an intercepted tunnel origin-form, or absolute-form `https://`, for the
 *   host of the tunnel alone.
 * - The target's authority and Host must be equal; the Host that is sent is written anew from the
 *   decided one (RFC 9112 section 3.2.2).
 */
import { Fault } from '../base/fault.ts';
import { type Fields, type RequestHead, fieldOf } from '../http/message.ts';
import { type Authority, formatAuthority, parseAuthority } from '../net/authority.ts';
import { canonicalTarget } from '../net/path.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { HTTPS_PORT } from '../policy/model/access-matrix.ts';
import type { EntryPoint, Facts, HttpFacts, RequestFacts } from '../policy/model/facts.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { FieldRules } from './headers.ts';
import {
  type ListenerView,
  UNSAID,
  isLocal,
  misdirected,
  namedAt,
  ownAuthority,
  refuseForeignOrigin,
} from './local-listener.ts';
import { HTTP_PORT, absoluteForm, requireSame, unequal } from './target.ts';
import { type WebSocketOffer, webSocketOffer } from './websocket-offer.ts';

/** A request over HTTP, read strictly. */
export interface DescribedHead {
  readonly facts: RequestFacts;
  /** The policy by which it was read. */
  readonly policy: Pick<Policy, 'find'>;
  /** The destination of its host and port. */
  readonly destination: Destination | undefined;
  readonly method: string;
  /** Path and query in origin-form, as judged. */
  readonly target: string;
  /** The agent waits for a 100 before it sends its body (RFC 9110 section 10.1.1). */
  readonly continues: boolean;
  /** Max-Forwards to send (RFC 9110 section 7.6.2). */
  readonly hops: number | undefined;
  /** Content that was read whole, because it was judged. */
  readonly content: Buffer | undefined;
}

export interface DescribedHttp extends DescribedHead {
  readonly kind: 'http';
}

export interface DescribedWebSocket extends DescribedHead {
  readonly kind: 'websocket';
  readonly offer: WebSocketOffer;
}

/** A request by its head alone; the protocol of the destination may make more of it. */
export type DescribedRequestHead = DescribedHttp | DescribedWebSocket;

const NEVER: ReadonlySet<string> = new Set(['TRACE', 'TRACK', 'CONNECT']);
/**
 * The way a head is read: the policy says which fields and which spellings of a path its
 * destination takes.
 */
export interface Reading {
  readonly policy: Pick<Policy, 'find'>;
  readonly fields: Pick<FieldRules, 'request'>;
  /** Wall clock, milliseconds since the epoch. */
  readonly time: number;
}

/** A request with an absolute-form target to the forward port. */
export function describeForward(head: RequestHead, reading: Reading): DescribedRequestHead {
  refuseMethod(head.method);
  const { authority, rest } = absoluteForm(head.target);
  const named = parseAuthority(authority, HTTP_PORT);
  const host = fieldOf(head.fields, 'host');
  if (host !== undefined && host !== authority) requireSame(named, host);
  return describe(head, rest, { entry: 'forward', authority: named, listener: undefined, reading });
}

/**
 * A request on the forward socket of an agent: as on the port, or in origin-form, where Host says
 * whom it is for. Programs that speak HTTP over a Unix socket know no other form.
 */
export function describeForwardSocket(head: RequestHead, reading: Reading): DescribedRequestHead {
  if (!head.target.startsWith('/')) return describeForward(head, reading);
  refuseMethod(head.method);
  const host = fieldOf(head.fields, 'host');
  if (host === undefined) throw new Fault('malformed', 'there is no Host', { at: 'host' });
  refuseForeignOrigin(head.fields, host);
  const authority = parseAuthority(host, HTTP_PORT);
  return describe(head, head.target, { entry: 'forward', authority, listener: undefined, reading });
}

/** A request to a destination's own listener. */
export function describeListener(
  head: RequestHead,
  view: ListenerView,
  reading: Reading,
): DescribedRequestHead {
  refuseMethod(head.method);
  const { destination, local } = view;
  const host = fieldOf(head.fields, 'host');
  if (host === undefined) throw new Fault('malformed', 'there is no Host', { at: 'host' });
  refuseForeignOrigin(head.fields, host);
  if (head.target.startsWith('/')) {
    const authority = namedAt(view, parseAuthority(host, UNSAID));
    return describe(head, head.target, {
      entry: 'listener',
      authority,
      listener: destination.name,
      reading,
    });
  }
  const { authority, rest } = absoluteForm(head.target);
  const named = parseAuthority(authority, HTTP_PORT);
  if (host !== authority) requireSame(named, host);
  if (isLocal(named, local)) throw misdirected('absolute-form names the listener itself');
  return describe(head, rest, {
    entry: 'listener',
    authority: named,
    listener: destination.name,
    reading,
  });
}

/**
 * A request inside an intercepted tunnel: origin-form, or absolute-form `https://`. Both and Host
 * must name the host and port of the CONNECT, on every request (RFC 9110 section 7.4): a
 * certificate for one host is no permission to ask for another.
 */
export function describeIntercepted(
  head: RequestHead,
  tunnel: Authority,
  reading: Reading,
): DescribedRequestHead {
  return describeInside(head, tunnel, { entry: 'intercept', scheme: 'https', reading });
}

/** HTTP in the clear inside a tunnel: the same with `http://`. */
export function describeCleartext(
  head: RequestHead,
  tunnel: Authority,
  reading: Reading,
): DescribedRequestHead {
  return describeInside(head, tunnel, { entry: 'cleartext', scheme: 'http', reading });
}

interface Inside {
  readonly entry: 'intercept' | 'cleartext';
  readonly scheme: 'http' | 'https';
  readonly reading: Reading;
}

function describeInside(
  head: RequestHead,
  tunnel: Authority,
  { entry, scheme, reading }: Inside,
): DescribedRequestHead {
  refuseMethod(head.method);
  const host = fieldOf(head.fields, 'host');
  if (host === undefined) throw new Fault('malformed', 'there is no Host', { at: 'host' });
  const { authority, rest } = head.target.startsWith('/')
    ? { authority: host, rest: head.target }
    : absoluteForm(head.target, scheme);
  const port = scheme === 'https' ? HTTPS_PORT : HTTP_PORT;
  const named = parseAuthority(authority, port);
  requireTunnel(named, tunnel, 'target');
  if (authority !== host) requireTunnel(parseAuthority(host, port), tunnel, 'host');
  return describe(head, rest, { entry, authority: named, listener: undefined, reading });
}

function requireTunnel(named: Authority, { host, port }: Authority, at: 'host' | 'target'): void {
  if (named.host === host && named.port === port) return;
  const reason =
    `the request is for ${formatAuthority(named.host, named.port)} and its tunnel goes to ` +
    `${formatAuthority(host, port)}`;
  throw new Fault('misdirected', reason, { hint: 'open a tunnel to the host that is meant', at });
}

/** CONNECT: a tunnel to an authority and nothing else (RFC 9110 section 9.3.6). */
export function describeConnect(head: RequestHead, time: number): Facts {
  const named = parseAuthority(head.target, undefined);
  const host = fieldOf(head.fields, 'host');
  if (host !== undefined) {
    // Clients write Host with and without the port of the tunnel.
    const field = parseAuthority(host, named.port);
    if (field.host !== named.host || field.port !== named.port) throw unequal(named, field);
  }
  if (webSocketOffer({ ...head, method: 'GET' }) !== undefined)
    throw new Fault('upgrade-not-supported', 'CONNECT cannot be upgraded');
  return {
    entry: 'connect',
    host: named.host,
    port: named.port,
    listener: undefined,
    http: undefined,
    time,
  };
}

/** A connection to the listener of a tcp destination. */
export function describeRaw(destination: Destination, time: number): Facts {
  const { host, port } = ownAuthority(destination);
  return { entry: 'listener', host, port, listener: destination.name, http: undefined, time };
}

/** Settings of a host that no destination lists. */
const UNLISTED: Pick<Destination, 'headers' | 'paths' | 'spellings'> = Object.freeze({});

interface Judged {
  readonly entry: EntryPoint;
  readonly authority: Authority;
  readonly listener: string | undefined;
  readonly reading: Reading;
}

/**
 * Fields that are stripped or nominated away are no facts: the fields that are judged are the
 * fields that are sent.
 */
function describe(
  head: RequestHead,
  rest: string,
  { entry, authority, listener, reading }: Judged,
): DescribedRequestHead {
  const { method } = head;
  const { policy, time } = reading;
  const destination = policy.find(authority.host, authority.port);
  const { headers, paths, spellings } = destination ?? UNLISTED;
  const { path, query } = canonicalTarget(rest, paths);
  const offer = webSocketOffer(head);
  const fields = reading.fields.request(head.fields, headers);
  if (spellings !== undefined) {
    spellings.fields(fields);
    spellings.params(query);
  }
  const http: HttpFacts = {
    method,
    path,
    query,
    websocket: offer !== undefined,
    empty: isEmpty(head),
    fields,
  };
  const described = {
    kind: 'http' as const,
    facts: { entry, host: authority.host, port: authority.port, listener, http, time },
    policy,
    destination,
    method,
    target: path + query,
    continues: head.expectContinue,
    hops: method === 'OPTIONS' ? hopsLeft(head.fields) : undefined,
    content: undefined,
  };
  return offer === undefined ? described : { ...described, kind: 'websocket', offer };
}

function isEmpty({ framing }: RequestHead): boolean {
  return framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0);
}

function refuseMethod(method: string): void {
  if (NEVER.has(method)) throw new Fault('method-not-supported', `${method} is not served here`);
}

/** RFC 9110 section 7.6.2: at zero the request goes no further. */
function hopsLeft(fields: Fields): number | undefined {
  const left = fieldOf(fields, 'max-forwards');
  if (left === undefined) return undefined;
  if (!/^\d{1,9}$/.test(left))
    throw new Fault('malformed', 'Max-Forwards is no number', { at: 'max-forwards' });
  if (Number(left) === 0)
    throw new Fault('loop', 'Max-Forwards ran out at this proxy', { at: 'max-forwards' });
  return Number(left) - 1;
}
