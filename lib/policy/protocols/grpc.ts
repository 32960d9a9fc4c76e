/**
 * What a gRPC call asks for, and whether a rule is about it. The path of a call is
 * `/package.Service/Method` and nothing else: what is not plainly that is no call. Both key lists
 * hold exact, case-sensitive names; `*` in `methods` is every one, and a key that is left out is
 * every one too, in deny rules as in allow rules.
 */
import type { GrpcFacts, HttpFacts } from '../model/facts.ts';
import type { Rule } from '../model/rule.ts';

/** In `methods`: every one. */
const EVERY = '*';

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

export function callMatches({ effect, grpc }: Rule, { service, method }: GrpcFacts): boolean {
  if (grpc === undefined) return effect === 'deny';
  const { services, methods } = grpc;
  return (
    (services?.has(service) ?? true) &&
    (methods === undefined || methods.has(EVERY) || methods.has(method))
  );
}

/** The call, for people. */
export function callInWords({ service, method }: GrpcFacts): string {
  return `${service}/${method}`;
}

export function callHint(rules: readonly Rule[], { service, method }: GrpcFacts): string {
  if (rules.every(({ effect }) => effect === 'deny'))
    return 'the destination has no allow rule: add one';
  for (const rule of rules) {
    if (rule.effect !== 'allow' || rule.grpc?.services?.has(service) === false) continue;
    if (callMatches(rule, { service, method }))
      return `rule ${rule.name} would allow it, but its condition does not hold`;
    return (
      `rule ${rule.name} allows this service for ` +
      `${[...(rule.grpc?.methods ?? [])].join(', ')} alone; ${method} must be listed`
    );
  }
  return `add an allow rule whose grpc has services: [${service}] and methods: [${method}]`;
}
