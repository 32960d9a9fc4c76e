/**
 * A whole proxy in this process over real sockets, with an audit log in memory and policies written
 * as values; and a client that speaks raw bytes.
 */
import { type Rule, serviceOf } from './service.ts';
import type { HttpRule } from '../../lib/policy/protocols/http-rules.ts';
import type { BesideRule, McpPolicy } from '../../lib/policy/protocols/mcp-service.ts';
import { type Socket, connect } from 'node:net';
import type { AuditLog, AuditRecord } from '../../lib/audit/record.ts';
import { type Cell, cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { type Proxy, type ProxyOptions, startProxy } from '../../lib/listen/proxy.ts';
import { parseHostPattern } from '../../lib/net/host.ts';
import { parsePathPattern } from '../../lib/net/path-pattern.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { spellingsOf } from '../../lib/policy/conditions/spellings.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Destination, Protocol } from '../../lib/policy/protocols/index.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Identity, IdentityState } from '../../lib/spiffe/identity.ts';
import { parsePeerPattern } from '../../lib/spiffe/pattern.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import type { Resolver } from '../../lib/upstream/resolver.ts';
import { type TestAuthority, testAuthority } from './authority.ts';
import { until } from './until.ts';

export interface DestinationOptions {
  readonly name?: string;
  readonly hosts?: readonly string[];
  readonly ports?: readonly number[];
  readonly mode?: Destination['tls']['mode'];
  readonly peers?: readonly string[];
  readonly serverName?: string;
  readonly roots?: readonly string[];
  readonly insecure?: boolean;
  readonly intercept?: boolean;
  readonly ech?: Destination['tls']['ech'];
  readonly protocol?: Protocol;
  readonly upstream?: { readonly host: string; readonly port: number };
  readonly sentHost?: string;
  readonly cidrs?: readonly string[];
  readonly listen?: boolean | number;
  readonly rules?: readonly Rule[];
  readonly mcp?: McpPolicy;
  readonly timeouts?: Partial<Destination['timeouts']>;
  readonly limits?: Partial<Destination['limits']>;
  readonly via?: Destination['via'];
  readonly report?: boolean;
  readonly credential?: Destination['credential'];
  /** The upstream is spoken to in HTTP/2; so it is with protocol grpc. */
  readonly http2?: boolean;
  readonly task?: Destination['task'];
  readonly action?: string;
  readonly headers?: Destination['headers'];
  readonly paths?: Destination['paths'];
}

export function rule(
  name: string,
  effect: Rule['effect'],
  http: {
    methods?: string[];
    paths?: string[];
    websocket?: boolean;
    when?: string;
    mcpLike?: boolean;
  } = {},
): HttpRule | BesideRule {
  const { methods, paths, websocket = false, when, mcpLike } = http;
  return {
    name,
    effect,
    action: effect === 'allow' ? 'read' : undefined,
    http: {
      methods: methods && new Set(methods),
      paths: paths?.map(parsePathPattern),
      websocket,
      ...(mcpLike === undefined ? {} : { mcpLike }),
    },
    when: when === undefined ? undefined : CONDITIONS.compile(when, 'request'),
  };
}

const CONDITIONS = conditions(['public', 'internal', 'confidential', 'restricted']);

/**
 * A destination `crm` for http://crm.internal/ over mTLS, everything allowed, unless said
 * otherwise.
 */
export function testDestination(given: DestinationOptions = {}): Destination {
  const { mode = 'mtls', listen, upstream, name = 'crm' } = given;
  const rules =
    given.rules ??
    (given.protocol === 'tcp' || mode === 'passthrough' ? [] : [rule('all', 'allow')]);
  return Object.freeze({
    name,
    hosts: (given.hosts ?? ['crm.internal']).map(parseHostPattern),
    ports: given.ports ?? [80],
    service: serviceOf({ protocol: given.protocol, rules, mcp: given.mcp }, mode),
    listen:
      listen === undefined || listen === false
        ? undefined
        : { host: '127.0.0.1', port: listen === true ? 0 : listen },
    upstream,
    sentHost: given.sentHost,
    cidrs: given.cidrs ?? [],
    http2: given.http2 ?? given.protocol === 'grpc',
    tls: {
      mode,
      peers:
        mode === 'mtls'
          ? (given.peers ?? ['spiffe://example.org/upstream']).map(parsePeerPattern)
          : [],
      serverName: given.serverName,
      roots: given.roots,
      insecure: given.insecure ?? false,
      intercept: given.intercept ?? false,
      ech: given.ech,
    },
    via: given.via,
    dataClass: 'internal',
    task: given.task ?? 'optional',
    action: given.action ?? 'admin',
    credential: given.credential,
    spellings: spellingsOf(
      name,
      rules.flatMap((one) => one.when ?? []),
    ),
    timeouts: {
      connect: 5000,
      headers: 10_000,
      message: 10_000,
      idle: 10_000,
      total: 60_000,
      ...given.timeouts,
    },
    limits: {
      concurrent: 64,
      body: undefined,
      response: undefined,
      rate: undefined,
      ...given.limits,
    },
    headers: given.headers,
    paths: given.paths,
    mcp: given.mcp,
    mode: given.report === true ? 'report' : 'enforce',
    at: 'test.yaml:1:1',
  });
}

let generations = 0;

export function policyOf(...destinations: readonly Destination[]): Policy {
  generations += 1;
  return buildPolicy({
    generation: generations,
    digest: String(generations).padStart(64, '0'),
    destinations,
    unlisted: 'deny',
  });
}

/** Keeps records; `fail` makes writing fail as a full disk does. */
export interface MemoryAudit extends AuditLog {
  readonly records: readonly AuditRecord[];
  fail: Fault | undefined;
  /** Resolves before each write when set. */
  before: Promise<void> | undefined;
  /** Of exchanges of agents. */
  of(kind: AuditRecord['kind']): readonly AuditRecord[];
  /** Of what the sidecar itself asked upstreams. */
  own(): readonly AuditRecord[];
}

export function memoryAudit(): MemoryAudit {
  const records: AuditRecord[] = [];
  const isOwn = (record: AuditRecord): boolean =>
    'exchange' in record &&
    records.some(
      (one) =>
        one.kind === 'decided' && one.exchange === record.exchange && one.asker !== undefined,
    );
  return {
    records,
    fail: undefined,
    before: undefined,
    of: (kind) => records.filter((record) => record.kind === kind && !isOwn(record)),
    own: () => records.filter(isOwn),
    async write(record) {
      if (this.fail !== undefined) throw this.fail;
      records.push(record);
      await this.before;
    },
  };
}

export interface TestProxy extends AsyncDisposable {
  readonly server: Proxy;
  readonly authority: TestAuthority;
  readonly policy: Cell<Policy>;
  readonly identity: Cell<IdentityState>;
  readonly audit: MemoryAudit;
  readonly shutdown: AbortController;
  readonly asked: readonly string[];
  /** `port` of the forward proxy or of a destination's listener. */
  port(name?: string): number;
  open(name?: string): Promise<TestConnection>;
  /** One exchange on a connection of its own. */
  ask(request: string, name?: string): Promise<string>;
  /** GET through the forward port. */
  get(url: string): Promise<string>;
  /** Settles when every exchange that began has ended. */
  quiet(): Promise<void>;
}

export interface TestProxyOptions {
  readonly authority?: TestAuthority;
  readonly destinations: readonly Destination[];
  readonly identity?: Identity | 'none';
  /** Answers of the resolver; names that are not there do not resolve. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
  readonly onFailure?: 'deny' | 'continue';
  readonly fetchJwtSvid?: ProxyOptions['identity']['fetchJwtSvid'];
  readonly options?: Partial<ProxyOptions>;
  readonly audit?: AuditLog;
}

export async function testProxy(given: TestProxyOptions): Promise<TestProxy> {
  const authority = given.authority ?? (await testAuthority());
  const identity = given.identity ?? authority.identity(await authority.svid('/agent'));
  const states = cell<IdentityState>(
    identity === 'none'
      ? { kind: 'waiting', since: 0, problem: 'no socket' }
      : { kind: 'current', identity, problem: undefined },
  );
  const policy = cell<Policy>(policyOf(...given.destinations));
  const audit = memoryAudit();
  const shutdown = new AbortController();
  const asked: string[] = [];
  const resolver: Resolver = {
    resolve: async (name, { absolute }) => {
      asked.push(absolute ? `${name}.` : name);
      const answer = given.names?.[name];
      if (answer === undefined)
        throw new Fault('upstream-unresolved', `${name} cannot be resolved (ENOTFOUND)`);
      return answer;
    },
  };
  const server = await startProxy({
    sidecar: {
      forward: { host: '127.0.0.1', port: 0 },
      audit: { onFailure: given.onFailure ?? 'deny' },
    },
    policy,
    identity: {
      states,
      current: () => currentOf(states),
      fetchJwtSvid:
        given.fetchJwtSvid ??
        (() => Promise.reject(new Fault('workload-api-unavailable', 'there is no Workload API'))),
    },
    audit: given.audit ?? audit,
    contexts: tlsContexts(),
    clock: systemClock,
    shutdown: shutdown.signal,
    resolver,
    ...given.options,
  });
  const port = (name = 'forward'): number => server.addresses.get(name)?.port ?? 0;
  const open = (name?: string): Promise<TestConnection> => testConnection(port(name));
  const ask = async (request: string, name?: string): Promise<string> => {
    const line = await open(name);
    line.socket.on('data', () => keepsOpen(line.text) && line.socket.end());
    line.write(request);
    return line.ended();
  };
  return {
    server,
    authority,
    policy,
    identity: states,
    audit,
    shutdown,
    asked,
    port,
    open,
    ask,
    get: (url) =>
      ask(`GET ${url} HTTP/1.1\r\nHost: ${url.split('/')[2]}\r\nConnection: close\r\n\r\n`),
    quiet: () =>
      until('no exchange is live', () => server.live() === 0 || undefined).then(() => {}),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function currentOf(states: Cell<IdentityState>): Identity {
  const state = states.get();
  if (state?.kind !== 'current')
    throw new Fault('no-identity', 'no SVID yet', { hint: 'see /readyz' });
  if (state.identity.svid.notAfter <= Date.now())
    throw new Fault('identity-expired', 'our SVID expired', { hint: 'see /readyz' });
  return state.identity;
}

/**
 * Whether a refusal has come whole behind which the connection is kept: whoever wants no more ends
 * it.
 */
export function keepsOpen(text: string): boolean {
  const at = text.search(/HTTP\/1\.1 [45]\d\d /);
  const head = at < 0 ? undefined : /^[^]*?\r\n\r\n/.exec(text.slice(at))?.[0];
  if (head === undefined || /\r\nconnection: close\r\n/i.test(head)) return false;
  return (
    text.length >= at + head.length + Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
  );
}

/** A raw connection. */
export interface TestConnection {
  readonly socket: Socket;
  /** What was received so far, as latin1. */
  readonly text: string;
  /** Whether it ended by a reset instead of an end. */
  readonly reset: boolean;
  write(data: string | Buffer): void;
  /** Waits for what was received to satisfy. */
  sees(what: string | RegExp, within?: number): Promise<string>;
  /** All that was received, once the other side has ended or cut the connection. */
  ended(): Promise<string>;
}

export async function testConnection(port: number): Promise<TestConnection> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  const line = testConnectionOver(socket);
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return line;
}

/** The same over a socket that is there already. */
export function testConnectionOver(socket: Socket): TestConnection {
  const chunks: Buffer[] = [];
  let reset = false;
  let over = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => (reset = true));
  socket.on('end', () => ((over = true), socket.end()));
  socket.on('close', () => (over = true));
  const text = (): string => Buffer.concat(chunks).toString('latin1');
  return {
    socket,
    get text() {
      return text();
    },
    get reset() {
      return reset;
    },
    write: (data) => void socket.write(data),
    sees: (what, within) =>
      until(
        `${String(what)} in ${JSON.stringify(text())}`,
        () =>
          (typeof what === 'string' ? text().includes(what) : what.test(text()))
            ? text()
            : over
              ? Promise.reject(new Error(`ended: ${text()}`))
              : undefined,
        within,
      ),
    ended: () =>
      until('the connection is over', () => (over ? text() || ' ' : undefined), 10_000).then(
        (all) => all.trim(),
      ),
  };
}

export interface ReadRefusal {
  readonly code: string;
  readonly message: string;
  readonly rule?: string | undefined;
  readonly decision: string;
  /** Of JSON-RPC. */
  readonly data?: { readonly reason: string; readonly decision: string };
}

/** A refusal as its reader has it: JSON, JSON-RPC, or the one line of text. */
export function refusal(answer: string): ReadRefusal {
  return refusalIn(answer.slice(answer.indexOf('\r\n\r\n') + 4));
}

export function refusalIn(body: string): ReadRefusal {
  const [, message, code, rule, decision] =
    /^(.*) \[chaperone: ([a-z-]+)(?:, rule (.+))?, decision ([\w-]+)\]\n?$/.exec(body) ?? [];
  if (message !== undefined) return { code: code ?? '', message, rule, decision: decision ?? '' };
  const read = JSON.parse(body) as { error: string | ReadRefusal };
  if (typeof read.error === 'object') return read.error;
  return { ...(read as unknown as ReadRefusal), code: read.error };
}

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0);
}

/** Whether each exchange has one opening and one closing record. */
export function unpaired(records: readonly AuditRecord[]): readonly string[] {
  const counts = new Map<string, string>();
  for (const record of records) {
    if (
      record.kind === 'lifecycle' ||
      record.kind === 'redecided' ||
      record.kind === 'task' ||
      record.kind === 'refusals'
    )
      continue;
    counts.set(
      record.exchange,
      (counts.get(record.exchange) ?? '') + (record.kind === 'ended' ? 'E' : 'D'),
    );
  }
  return [...counts].filter(([, kinds]) => kinds !== 'DE').map(([id, kinds]) => `${id} ${kinds}`);
}
