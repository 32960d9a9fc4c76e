/**
 * What a gRPC call asks for, and whether a rule is about it. The path of a call is
 * `/package.Service/Method` and nothing else: what is not plainly that is no call. Both key lists
 * hold exact, case-sensitive names; `*` in `methods` is every one, and a key that is left out is
 * every one too, in deny rules as in allow rules.
 */
import { EVERY } from '../model/permission.ts';
import type { GrpcFacts, HttpFacts } from '../model/facts.ts';
import type { RuleBase } from '../model/rule.ts';
import { NO_ALLOW_RULE, type RuleTerms, failsCondition, onlyDeny } from './by-rules.ts';

interface GrpcMatch {
  /** Exact names with their package; undefined: every service. */
  readonly services: ReadonlySet<string> | undefined;
  /** Exact names, or `*`; undefined: every method. */
  readonly methods: ReadonlySet<string> | undefined;
  /** Its calls send more than one message: they are not read, and no approval is bound to one. */
  readonly streaming?: boolean | undefined;
}

export interface GrpcRule extends RuleBase {
  readonly grpc: GrpcMatch;
}

/**
 * A service with its package, and a method, as protobuf names them; at most 255 characters each.
 */
export const SERVICE = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;
export const METHOD = /^[A-Za-z_][A-Za-z0-9_]*$/;
const LONGEST = 255;

/**
 * Bytes before each message: whether it is compressed, and its length (PROTOCOL-HTTP2,
 * Length-Prefixed-Message).
 */
export const MESSAGE_PREFIX = 5;

/** The call that a request is; undefined when it is none. */
export function callOf({
  method,
  path,
  query,
}: Pick<HttpFacts, 'method' | 'path' | 'query'>): GrpcFacts | undefined {
  if (method !== 'POST' || query !== '') return undefined;
  const [before, service = '', name = '', more] = path.split('/', 4);
  if (before !== '' || more !== undefined || service.length > LONGEST || name.length > LONGEST)
    return undefined;
  return SERVICE.test(service) && METHOD.test(name)
    ? Object.freeze({ service, method: name })
    : undefined;
}

function callMatches({ grpc: { services, methods } }: GrpcRule, call: GrpcFacts): boolean {
  return (
    (services?.has(call.service) ?? true) &&
    (methods === undefined || methods.has(EVERY) || methods.has(call.method))
  );
}

function callHint(rules: readonly GrpcRule[], call: GrpcFacts): string {
  if (onlyDeny(rules)) return NO_ALLOW_RULE;
  const { service, method } = call;
  for (const rule of rules) {
    if (rule.effect !== 'allow' || rule.grpc.services?.has(service) === false) continue;
    if (callMatches(rule, call)) return failsCondition(rule);
    return (
      `rule ${rule.name} allows this service for ` +
      `${[...(rule.grpc.methods ?? [])].join(', ')} alone; ${method} must be listed`
    );
  }
  return `add an allow rule whose grpc has services: [${service}] and methods: [${method}]`;
}

export const GRPC_TERMS: RuleTerms<GrpcRule, GrpcFacts> = Object.freeze({
  isAbout: callMatches,
  words: ({ service, method }: GrpcFacts) => `${service}/${method}`,
  hint: callHint,
  allowed: ({ grpc }: GrpcRule) => (grpc.streaming === true ? STREAMS : undefined),
});

const STREAMS = Object.freeze({ streams: true });
