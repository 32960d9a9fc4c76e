/**
 * From documents that decoded and passed the checks to the values that the other folders read. No
 * defaults here: the schema has them all.
 */
import { absoluteSink, type SinkSpec } from '../../audit/sinks/index.ts';
import type { PathPolicy } from '../../net/path.ts';
import { spellingsOf } from '../../policy/conditions/spellings.ts';
import type { Condition } from '../../policy/model/condition.ts';
import type { Limits, ListenAddress, Via } from '../../policy/model/destination.ts';
import type { TaskPolicy } from '../../policy/model/grant.ts';
import type { Rate } from '../../policy/model/rule.ts';
import { type Destination, PROTOCOLS, type Service } from '../../policy/protocols/index.ts';
import type { SpiffeId } from '../../spiffe/id.ts';
import { compileHeaders } from '../documents/headers.ts';
import { PROTOCOL_DOCUMENTS, protocolIn } from '../documents/protocols.ts';
import { type Conditions, compileRate } from '../documents/rule.ts';
import type {
  DestinationDocument,
  SidecarDocument,
  TaskPolicyDocument,
} from '../documents/schema.ts';
import { type AgentSpec, compileAgents } from './agents.ts';
import { compileCredentials } from './credentials.ts';

/** Settings of the sidecar; durations in milliseconds, sizes in bytes. */
export interface SidecarSpec {
  readonly name: string;
  readonly identity: {
    /** undefined: $SPIFFE_ENDPOINT_SOCKET. */
    readonly workloadApi: string | undefined;
    readonly select: { readonly hint: string | undefined; readonly spiffeId: SpiffeId | undefined };
    readonly initialSync: number;
    /** What to do when the Workload API is not asked any more. */
    readonly onFinal: 'exit' | 'wait';
  };
  readonly forward: ListenAddress | undefined;
  readonly adminApi: { readonly socket: string } | undefined;
  /** Absolute path of what is to outlive a restart; undefined: the folder of adminApi. */
  readonly stateDir: string | undefined;
  readonly agentApi:
    | {
        readonly socket: string;
        /** Of the socket, as bits. */
        readonly mode: number;
        /** `tokenFile` with an absolute path. */
        readonly tcp: { readonly address: ListenAddress; readonly tokenFile: string } | undefined;
      }
    | undefined;
  /** At least one: what `agents` says, or the one of `agentApi`. */
  readonly agents: readonly AgentSpec[];
  readonly tasks: {
    /** `secretFile` with an absolute path. */
    readonly webhook:
      { readonly url: string; readonly secretFile: string; readonly timeout: number } | undefined;
  };
  readonly health: ListenAddress | undefined;
  readonly intercept: InterceptSpec | undefined;
  readonly audit: {
    /** Files with absolute paths. */
    readonly sinks: readonly SinkSpec[];
    /** Milliseconds. */
    readonly timeout: number;
    readonly onFailure: 'deny' | 'continue';
    /** Over this refusals of one agent are counted. */
    readonly refusals: Rate;
  };
  readonly defaults: {
    readonly task: 'required' | 'optional';
    readonly unlisted: 'deny' | 'report';
  };
  readonly listeners: {
    readonly headersTimeout: number;
    readonly idleTimeout: number;
    readonly maxConnections: number;
    readonly maxHead: number;
    readonly maxField?: number | undefined;
    readonly maxFields: number;
    readonly maxTarget?: number | undefined;
    readonly bodyTimeout: number;
    readonly writeTimeout: number;
    readonly connectionMaxAge: number;
    readonly connectionIdle: number;
  };
  /** Lowest first. */
  readonly dataClasses: readonly string[];
  /** Milliseconds. */
  readonly maxStale: number;
  readonly resolver: 'dns' | 'system';
  readonly drain: number;
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' };
}

/** Folders with absolute paths. */
export interface InterceptSpec {
  readonly domains: readonly string[];
  readonly refusals: 'inside' | 'connect';
  /** Where the key is kept; undefined: in memory. */
  readonly caFolder: string | undefined;
  /** Where bundles for programs are written; undefined: nowhere. */
  readonly trustFolder: string | undefined;
}

/** `absolute` makes a path of the document independent of the working folder. */
export function compileSidecar(
  { metadata, spec }: SidecarDocument,
  absolute: (path: string) => string,
): SidecarSpec {
  const sinks = spec.audit.sinks.map((sink) => absoluteSink(sink, absolute));
  return Object.freeze({
    name: metadata.name,
    identity: spec.identity,
    forward: spec.forward?.address,
    adminApi: spec.adminApi,
    stateDir: spec.stateDir && absolute(spec.stateDir),
    agentApi: spec.agentApi && compileAgentApi(spec.agentApi, absolute),
    agents: compileAgents(metadata.name, spec),
    tasks: Object.freeze({
      webhook:
        spec.tasks.webhook &&
        Object.freeze({
          ...spec.tasks.webhook,
          secretFile: absolute(spec.tasks.webhook.secretFile),
        }),
    }),
    health: spec.health?.address,
    intercept: spec.intercept && compileIntercept(spec.intercept, absolute),
    audit: Object.freeze({
      ...spec.audit,
      sinks: Object.freeze(sinks),
      refusals: rateOf(spec.audit.refusals),
    }),
    defaults: spec.defaults,
    listeners: spec.listeners,
    dataClasses: spec.dataClasses,
    maxStale: spec.maxStale,
    resolver: spec.resolver,
    drain: spec.drain,
    log: spec.log,
  });
}

function compileIntercept(
  { domains, ca, trust, refusals }: NonNullable<SidecarDocument['spec']['intercept']>,
  absolute: (path: string) => string,
): InterceptSpec {
  const caFolder = ca.folder === undefined ? undefined : absolute(ca.folder);
  return Object.freeze({
    domains,
    refusals,
    caFolder,
    trustFolder: trust && absolute(trust.folder),
  });
}

function compileAgentApi(
  { socket, mode, tcp }: NonNullable<SidecarDocument['spec']['agentApi']>,
  absolute: (path: string) => string,
): NonNullable<SidecarSpec['agentApi']> {
  const door = tcp && Object.freeze({ ...tcp, tokenFile: absolute(tcp.tokenFile) });
  return Object.freeze({ socket, mode: Number.parseInt(mode, 8), tcp: door });
}

function rateOf({ rate, burst }: SidecarDocument['spec']['audit']['refusals']): Rate {
  return Object.freeze({ ...rate, burst });
}

interface Surroundings {
  /** What holds where the document does not say. */
  readonly task: 'required' | 'optional';
  /** `file:line:column` of the document. */
  readonly at: string;
  /** PEM text behind `tls.roots`. */
  readonly roots: readonly string[] | undefined;
  readonly via: Via | undefined;
  /** Data class of a destination that names none. */
  readonly highestClass: string;
  /** What was compiled of `when`. */
  readonly conditions: Conditions;
}

export function compileDestination(
  { metadata, spec }: DestinationDocument,
  { at, roots, via, conditions, highestClass, task }: Surroundings,
): Destination {
  const { tls, upstream } = spec;
  const protocol = protocolIn(spec);
  const service: Service = PROTOCOL_DOCUMENTS[protocol].compile(spec, conditions);
  return Object.freeze({
    name: metadata.name,
    hosts: spec.hosts,
    ports: spec.ports,
    service,
    listen: spec.listen,
    upstream: upstream?.address,
    sentHost: upstream?.host,
    cidrs: upstream?.cidrs ?? NONE,
    http2: PROTOCOLS[protocol].http2 || upstream?.http === 'h2',
    tls: Object.freeze({
      mode: tls.mode,
      peers: tls.peers ?? NONE,
      serverName: tls.serverName,
      roots,
      insecure: tls.insecure ?? false,
      intercept: tls.intercept,
      ech: tls.ech,
    }),
    via,
    dataClass: spec.dataClass ?? highestClass,
    task: spec.task ?? task,
    action: spec.action,
    credential: spec.credentials && compileCredentials(spec.credentials),
    spellings: spellingsOf(metadata.name, [...conditions.values()]),
    timeouts: spec.timeouts,
    limits: compileLimits(spec.limits),
    headers: compileHeaders(spec.headers),
    paths: spec.paths && compilePaths(spec.paths),
    mode: spec.mode,
    at,
  });
}

function compilePaths({ encodedSlash, emptySegments }: NonNullable<Spec['paths']>): PathPolicy {
  return Object.freeze({
    encodedSlash: encodedSlash === 'keep',
    emptySegments: emptySegments === 'keep',
  });
}

const NONE: readonly never[] = Object.freeze([]);

type Spec = DestinationDocument['spec'];
function compileLimits({
  concurrent,
  body,
  response,
  ...pace
}: DestinationDocument['spec']['limits']): Limits {
  return Object.freeze({ concurrent, body, response, rate: compileRate(pace) });
}

const NO_QUOTAS: TaskPolicy['quotas'] = Object.freeze({});

export function compileTaskPolicy(
  { metadata, spec }: TaskPolicyDocument,
  at: string,
  when: Condition | undefined,
): TaskPolicy {
  return Object.freeze({
    name: metadata.name,
    purposes: spec.purposes,
    owners: spec.owners && new Set(spec.owners),
    agents: spec.agents && new Set(spec.agents),
    destinations: new Set(spec.destinations),
    actions: new Set(spec.actions),
    dataClasses: new Set(spec.dataClasses),
    lifetime: spec.lifetime,
    maxCalls: spec.maxCalls,
    maxOpenTasks: spec.maxOpenTasks,
    quotas: spec.quotas ?? NO_QUOTAS,
    depth: spec.depth,
    isolated: spec.isolated,
    when,
    stepUp: Object.freeze(
      spec.stepUp.map((one) =>
        Object.freeze({
          ...one,
          actions: new Set(one.actions),
          approvers: new Set(one.approvers),
          maxCalls: one.uncounted ? Infinity : one.maxCalls,
        }),
      ),
    ),
    at,
  });
}
