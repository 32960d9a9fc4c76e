/** Destinations, rules and policies as values. */
import { parseHostPattern } from '../../lib/net/host.ts';
import { parsePathPattern } from '../../lib/net/path-pattern.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { spellingsOf } from '../../lib/policy/conditions/spellings.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { HttpRule } from '../../lib/policy/protocols/http-rules.ts';
import type { Destination, Protocol } from '../../lib/policy/protocols/index.ts';
import type { BesideRule, McpPolicy } from '../../lib/policy/protocols/mcp-service.ts';
import { parsePeerPattern } from '../../lib/spiffe/pattern.ts';
import { type Rule, serviceOf } from './service.ts';

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
