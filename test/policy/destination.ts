/**
 * Destinations and facts for tests: what is not said is a plain mTLS destination and a plain GET.
 */
import { type ServiceKeys, serviceOf } from '../support/service.ts';
import type { HttpRule } from '../../lib/policy/protocols/http-rules.ts';
import { parseHostPattern } from '../../lib/net/host.ts';
import { parsePathPattern } from '../../lib/net/path-pattern.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Condition } from '../../lib/policy/model/condition.ts';
import type { TlsMode } from '../../lib/policy/model/destination.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import type { EntryPoint, Facts, HttpFacts, RequestFacts } from '../../lib/policy/model/facts.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Effect } from '../../lib/policy/model/rule.ts';

interface Wanted extends Partial<Omit<Destination, 'hosts' | 'tls' | 'service'>>, ServiceKeys {
  readonly hosts?: readonly string[];
  readonly tlsMode?: TlsMode;
}

export function destination(
  name: string,
  { hosts, tlsMode = 'mtls', protocol, rules, mcp, when, ...rest }: Wanted = {},
): Destination {
  return {
    name,
    hosts: (hosts ?? [`${name}.internal`]).map(parseHostPattern),
    ports: [80],
    service: serviceOf({ protocol, rules, mcp, when }, tlsMode),
    listen: undefined,
    upstream: undefined,
    cidrs: [],
    tls: {
      mode: tlsMode,
      peers: [],
      serverName: undefined,
      roots: undefined,
      insecure: false,
      intercept: false,
    },
    dataClass: 'internal',
    task: 'optional',
    action: 'admin',
    credential: undefined,
    timeouts: { connect: 5000, headers: 30_000, message: 30_000, idle: 300_000, total: 3_600_000 },
    via: undefined,
    limits: { concurrent: 64, body: undefined, response: undefined, rate: undefined },
    mode: 'enforce',
    at: 'test.yaml:1:1',
    ...rest,
  };
}

interface Match {
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
  readonly websocket?: boolean;
  readonly when?: Condition;
}

export function rule(
  name: string,
  effect: Effect,
  { methods, paths, websocket = false, when }: Match = {},
): HttpRule {
  return {
    name,
    effect,
    action: effect === 'allow' ? 'read' : undefined,
    http: { methods: methods && new Set(methods), paths: paths?.map(parsePathPattern), websocket },
    when,
  };
}

export function policy(...destinations: readonly Destination[]): Policy {
  return buildPolicy({ generation: 7, digest: 'd', destinations, unlisted: 'deny' });
}

interface Asked extends Partial<HttpFacts> {
  readonly entry?: EntryPoint;
  readonly host?: string;
  readonly port?: number;
  readonly listener?: string;
}

/** A request; `GET /` of crm.internal:80 over the forward proxy unless said otherwise. */
export function request({
  entry = 'forward',
  host = 'crm.internal',
  port = 80,
  listener,
  ...http
}: Asked = {}): RequestFacts {
  return {
    entry,
    host,
    port,
    listener,
    time: 0,
    http: { method: 'GET', path: '/', query: '', websocket: false, fields: [], ...http },
  };
}

/** A connection of which no HTTP is seen. */
export function connection(asked: Asked = {}): Facts {
  return { ...request({ entry: 'connect', ...asked }), http: undefined };
}
