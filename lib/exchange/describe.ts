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
import { type Fields, type RequestHead, fieldOf, fieldsOf } from '../http/message.ts';
import { type Authority, formatAuthority, parseAuthority } from '../net/authority.ts';
import { canonicalTarget } from '../net/path.ts';
import { HTTPS_PORT } from '../policy/model/access-matrix.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { EntryPoint, Facts, HttpFacts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { FieldRules } from './headers.ts';
import { type WebSocketOffer, webSocketOffer } from './websocket-offer.ts';

/** A request over HTTP, read strictly. */
export interface Described {
  readonly facts: Facts;
  readonly method: string;
  /** Path and query in origin-form, as judged. */
  readonly target: string;
  /** The agent waits for a 100 before it sends its body (RFC 9110 section 10.1.1). */
  readonly continues: boolean;
  readonly webSocket: WebSocketOffer | undefined;
  /** Max-Forwards to send (RFC 9110 section 7.6.2). */
  readonly hops: number | undefined;
}

/** A local listener as a request sees it. */
export interface ListenerView {
  readonly destination: Destination;
  /** Address and port the agent connected to. */
  readonly local: Authority;
}

const HTTP_PORT = 80;
/** No port can be 0: it stands for one that was not written. */
const UNSAID = 0;
const NEVER: ReadonlySet<string> = new Set(['TRACE', 'TRACK', 'CONNECT']);
const WRITE_HTTP = 'say http://host/path to the proxy: it speaks TLS to the upstream by itself';

/**
 * How what comes in is read: the policy says which fields and which spellings of a path its
 * destination takes.
 */
export interface Reading {
  readonly policy: Pick<Policy, 'find'>;
  readonly fields: Pick<FieldRules, 'request'>;
  /** Wall clock, milliseconds since the epoch. */
  readonly time: number;
}

/** A request with an absolute-form target to the forward port. */
export function describeForward(head: RequestHead, reading: Reading): Described {
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
export function describeForwardSocket(head: RequestHead, reading: Reading): Described {
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
): Described {
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
): Described {
  return describeInside(head, tunnel, { entry: 'intercept', scheme: 'https', reading });
}

/** HTTP in the clear inside a tunnel: the same with `http://`. */
export function describeCleartext(
  head: RequestHead,
  tunnel: Authority,
  reading: Reading,
): Described {
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
): Described {
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

/** What no destination says. */
const UNLISTED: Pick<Destination, 'headers' | 'paths' | 'spellings'> = Object.freeze({});

interface Judged {
  readonly entry: EntryPoint;
  readonly authority: Authority;
  readonly listener: string | undefined;
  readonly reading: Reading;
}

/**
 * What is stripped or nominated away is no fact: the fields that are judged are the fields that are
 * sent.
 */
function describe(
  head: RequestHead,
  rest: string,
  { entry, authority, listener, reading }: Judged,
): Described {
  const { method } = head;
  const { policy, time } = reading;
  const { headers, paths, spellings } = policy.find(authority.host, authority.port) ?? UNLISTED;
  const { path, query } = canonicalTarget(rest, paths);
  const webSocket = webSocketOffer(head);
  const fields = reading.fields.request(head.fields, headers);
  if (spellings !== undefined) {
    spellings.fields(fields);
    spellings.params(query);
  }
  const http: HttpFacts = {
    method,
    path,
    query,
    websocket: webSocket !== undefined,
    empty: isEmpty(head),
    fields,
  };
  return {
    facts: { entry, host: authority.host, port: authority.port, listener, http, time },
    method,
    target: path + query,
    continues: head.expectContinue,
    webSocket,
    hops: method === 'OPTIONS' ? hopsLeft(head.fields) : undefined,
  };
}

function isEmpty({ framing }: RequestHead): boolean {
  return framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0);
}

function absoluteForm(
  target: string,
  served: 'http' | 'https' = 'http',
): { readonly authority: string; readonly rest: string } {
  const start =
    target.startsWith(served) && target.startsWith('://', served.length)
      ? served.length + 3
      : afterScheme(target, served);
  let end = start;
  while (end < target.length && !'/?#'.includes(target[end] as string)) end++;
  if (end === target.length) return { authority: target.slice(start), rest: '/' };
  const rest = target.slice(end);
  return { authority: target.slice(start, end), rest: rest.startsWith('/') ? rest : `/${rest}` };
}

/** Where the authority begins; a Fault for any other scheme. */
function afterScheme(target: string, served: 'http' | 'https'): number {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(target);
  if (scheme?.[1]?.toLowerCase() === served) return scheme[0].length;
  throw wrongForm(target, scheme?.[1], served);
}

function wrongForm(target: string, scheme: string | undefined, served: 'http' | 'https'): Fault {
  if (served === 'https')
    return new Fault('malformed', 'the target is neither a path nor an https:// URL', {
      hint: 'inside a tunnel requests are for the host of the CONNECT',
      at: 'target',
    });
  if (scheme?.toLowerCase() === 'https')
    return new Fault('malformed', 'https:// in absolute-form is not served', {
      hint: `use CONNECT, or ${WRITE_HTTP}`,
      at: 'target',
    });
  if (scheme !== undefined)
    return new Fault('malformed', 'only http:// targets are served', {
      hint: WRITE_HTTP,
      at: 'target',
    });
  const problem =
    target.startsWith('/') || target === '*'
      ? 'the forward port takes absolute-form targets alone'
      : 'the target is no absolute-form http:// URL';
  return new Fault('malformed', problem, { hint: WRITE_HTTP, at: 'target' });
}

function requireSame(named: Authority, field: string): void {
  const host = parseAuthority(field, HTTP_PORT);
  if (host.host !== named.host || host.port !== named.port) throw unequal(named, host);
}

function unequal(target: Authority, host: Authority): Fault {
  const [asked, field] = [
    formatAuthority(target.host, target.port),
    formatAuthority(host.host, host.port),
  ];
  const hint = 'send the Host of the target, or none of your own';
  return new Fault('ambiguous', `the target names ${asked} and Host names ${field}`, {
    hint,
    at: 'host',
  });
}

/**
 * What origin-form at a listener means: its address stands for the destination, a name for itself.
 */
function namedAt({ destination, local }: ListenerView, { host, port }: Authority): Authority {
  if (isLocal({ host, port: port === UNSAID ? HTTP_PORT : port }, local))
    return ownAuthority(destination);
  // Clients put the port they connected to behind the name they were given.
  if (port === UNSAID || port === local.port)
    return { host, port: destination.ports[0] ?? HTTP_PORT };
  return { host, port };
}

function isLocal({ host, port }: Authority, local: Authority): boolean {
  if (port !== local.port) return false;
  return (
    host === local.host ||
    (host === 'localhost' && (local.host === '::1' || local.host.startsWith('127.')))
  );
}

/** The host that a destination's listener stands for. */
function ownAuthority({ name, hosts, ports }: Destination): Authority {
  const host = hosts.find(({ kind }) => kind !== 'wildcard')?.host;
  if (host === undefined) throw misdirected(`destination ${name} has wildcard hosts only`);
  return { host, port: ports[0] ?? HTTP_PORT };
}

function misdirected(why: string): Fault {
  return new Fault('misdirected', `${why}: it does not say which host is meant`, {
    hint: 'send the Host of the upstream',
  });
}

const OWN_SITES: ReadonlySet<string> = new Set(['same-origin', 'none']);

/**
 * A page of another origin that found this port through a browser (DNS rebinding, cross-site
 * requests) is turned away.
 */
function refuseForeignOrigin(fields: Fields, host: string): void {
  const origin = fieldOf(fields, 'origin');
  const own = origin === undefined || origin === `http://${host}`;
  // Images and links send no Origin; browsers say themselves where they come from (Fetch Metadata).
  if (own && fieldsOf(fields, 'sec-fetch-site').every((site) => OWN_SITES.has(site))) return;
  throw new Fault('denied', 'a browser sent this from another origin', {
    hint: 'local listeners serve programs: send no Origin and no Sec-Fetch-Site',
    at: 'origin',
  });
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
