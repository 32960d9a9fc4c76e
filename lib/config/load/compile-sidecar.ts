/** From a Sidecar document to its settings: paths absolute, addresses alone. */
import { absoluteSink } from '../../audit/sinks/index.ts';
import type { ListenAddress } from '../../policy/model/destination.ts';
import type { Rate } from '../../policy/model/rule.ts';
import type { SidecarDocument } from '../documents/schema.ts';
import { type AgentSpec, compileAgents } from './agents.ts';

type Spec = SidecarDocument['spec'];

/** Keys that are taken as they are written. */
type Kept =
  | 'identity'
  | 'adminApi'
  | 'stateDir'
  | 'tasks'
  | 'listeners'
  | 'dataClasses'
  | 'maxStale'
  | 'resolver'
  | 'drain'
  | 'log';

/** Settings of the sidecar; durations in milliseconds, sizes in bytes, paths absolute. */
export interface SidecarSpec extends Pick<Spec, Kept> {
  readonly name: string;
  readonly forward: ListenAddress | undefined;
  readonly health: ListenAddress | undefined;
  readonly agentApi: AgentApiSpec | undefined;
  /** At least one: what `agents` says, or the one of `agentApi`. */
  readonly agents: readonly AgentSpec[];
  readonly intercept: InterceptSpec | undefined;
  readonly audit: Omit<Spec['audit'], 'refusals'> & {
    /** Over this refusals of one agent are counted. */
    readonly refusals: Rate;
  };
  readonly defaults: Pick<Spec['defaults'], 'task' | 'unlisted'>;
}

type AgentApiSpec = Omit<NonNullable<Spec['agentApi']>, 'mode'> & {
  /** Of the socket, as bits. */
  readonly mode: number;
};

export interface InterceptSpec extends Pick<
  NonNullable<Spec['intercept']>,
  'domains' | 'refusals'
> {
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
  { domains, ca, trust, refusals }: NonNullable<Spec['intercept']>,
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
  { socket, mode, tcp }: NonNullable<Spec['agentApi']>,
  absolute: (path: string) => string,
): AgentApiSpec {
  const overTcp = tcp && Object.freeze({ ...tcp, tokenFile: absolute(tcp.tokenFile) });
  return Object.freeze({ socket, mode: Number.parseInt(mode, 8), tcp: overTcp });
}

function rateOf({ rate, burst }: Spec['audit']['refusals']): Rate {
  return Object.freeze({ ...rate, burst });
}
