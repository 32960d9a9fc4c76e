/**
 * From what was refused or only let through to the least that would allow it: rules of exact
 * methods and paths, tools, calls, and destinations that are not listed yet. A segment of a path
 * becomes `*` only where several identifiers were seen in its place. Nothing here is in force: it
 * is for a person to review.
 */
import type { Destination } from '../model/destination.ts';
import { CLIENT_METHODS } from '../model/mcp-methods.ts';
import type { Policy } from '../model/policy.ts';
import { reachesEndpoint } from '../protocols/mcp-endpoint.ts';

/** One record, as far as it says what was asked for. */
export interface Observation {
  /** Of a destination that reports; undefined: no destination had the host. */
  readonly destination: string | undefined;
  /** The deny rule that would have denied it. */
  readonly rule: string | undefined;
  readonly entry: string;
  readonly host: string;
  readonly port: number;
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly mcpMethod: string | undefined;
  readonly tool: string | undefined;
  readonly prompt: string | undefined;
  readonly resource: string | undefined;
}

export interface SuggestedRule {
  readonly name: string;
  readonly action: string;
  readonly about:
    | { readonly http: { readonly methods: readonly string[]; readonly paths: readonly string[] } }
    | {
        readonly mcp: Readonly<
          Record<'tools' | 'prompts' | 'resources' | 'methods', readonly string[]>
        >;
      }
    | {
        readonly grpc: {
          readonly services: readonly string[];
          readonly methods: readonly string[];
        };
      };
}

export interface SuggestedDestination {
  readonly name: string;
  readonly host: string;
  readonly ports: readonly number[];
  /** The agent spoke TLS itself, in a tunnel. */
  readonly tunnel: boolean;
  readonly rules: readonly SuggestedRule[];
}

export interface Suggestion {
  /** Rules to add, by the name of a destination that is there. */
  readonly rules: ReadonlyMap<string, readonly SuggestedRule[]>;
  readonly destinations: readonly SuggestedDestination[];
  /** What was seen and is not suggested, and why. */
  readonly left: readonly string[];
}

export function suggest(observations: readonly Observation[], policy: Policy): Suggestion {
  const left = new Set<string>();
  const usable = observations.filter((one) => {
    const why = unusable(one, policy);
    if (why !== undefined) left.add(why);
    return why === undefined;
  });
  const rules = new Map<string, readonly SuggestedRule[]>();
  for (const [name, seen] of Map.groupBy(usable.filter(isListed), (one) => one.destination)) {
    const destination = policy.byName.get(name);
    if (destination !== undefined) rules.set(name, rulesOf(destination, seen));
  }
  return {
    rules,
    destinations: destinationsOf(
      usable.filter((one) => !isListed(one)),
      policy,
    ),
    left: [...left],
  };
}

function isListed(one: Observation): one is Observation & { readonly destination: string } {
  return one.destination !== undefined;
}

/** A record cuts longer paths to this. */
const CUT = 512;

function unusable(one: Observation, policy: Policy): string | undefined {
  const { destination, rule, host, port, path, entry, method } = one;
  if (isForeign(one))
    return 'a record that the sidecar did not write: its text is of characters that no record has';
  const asked = `${method ?? entry} ${path ?? host}`;
  if (destination !== undefined && !policy.byName.has(destination))
    return `destination ${destination} is no longer there`;
  if (destination !== undefined && rule !== undefined) {
    return (
      `${asked}: rule ${rule} of destination ${destination} denies it, and deny rules win: ` +
      'change that rule if it is to be allowed'
    );
  }
  if (path !== undefined && path.length >= CUT)
    return `${asked.slice(0, 80)}…: the path is too long for a record`;
  if (path?.includes('%3B...') === true)
    return `${asked.slice(0, 80)}: what follows a ; in a path is not recorded`;
  if (one.resource?.includes('...') === true)
    return `${one.resource.slice(0, 80)}: not all of this URI is recorded`;
  if (destination !== undefined) return undefined;
  if (/^[\d.]+$|:/.test(host))
    return `${asked}: ${host} is an address: write its destination yourself`;
  return HOST.test(host) && port >= 1 && port <= 65_535
    ? undefined
    : `${asked}: ${host} is no host`;
}

const HOST = /^[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?$/;

/** A log can be changed: what stands in it goes into documents that people read. */
function isForeign(one: Observation): boolean {
  return Object.values(one).some(
    (value) => typeof value === 'string' && !/^[\x20-\x7e]*$/.test(value),
  );
}

function rulesOf(destination: Destination, seen: readonly Observation[]): readonly SuggestedRule[] {
  const taken = new Set(destination.rules.map(({ name }) => name));
  if (destination.protocol === 'mcp') {
    const endpoints = destination.mcp?.endpoints ?? [];
    const beside = seen.filter(
      ({ mcpMethod, tool, prompt, resource, path = '/' }) =>
        [mcpMethod, tool, prompt, resource].every((one) => one === undefined) &&
        !reachesEndpoint(endpoints, path),
    );
    return named([...mcpRules(seen), ...httpRules(beside)], taken);
  }
  return named(destination.protocol === 'grpc' ? grpcRules(seen) : httpRules(seen), taken);
}

type Unnamed = Omit<SuggestedRule, 'name'>;

function named(rules: readonly Unnamed[], taken: Set<string>): readonly SuggestedRule[] {
  return rules.map((rule) => {
    const name = free(`seen-${rule.action}`, taken);
    return { name, ...rule };
  });
}

/** A name that is not taken; then it is. */
function free(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let i = 2; taken.has(name); i += 1) name = `${wanted}-${i}`;
  taken.add(name);
  return name;
}

const READS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * One rule for the paths that were asked for by the same methods of one action: nothing that was
 * not seen is allowed by their combination.
 */
function httpRules(seen: readonly Observation[]): readonly Unnamed[] {
  const requests = seen.flatMap(({ method, path }) =>
    method === undefined || path === undefined ? [] : [{ method, path }],
  );
  const byPath = new Map<string, Set<string>>();
  for (const [method, asked] of Map.groupBy(requests, (one) => one.method)) {
    for (const pattern of generalised(asked.map(({ path }) => path))) {
      const key = `${READS.has(method) ? 'read' : 'write'} ${pattern}`;
      byPath.set(key, (byPath.get(key) ?? new Set()).add(method));
    }
  }
  const groups = Map.groupBy(
    byPath,
    ([key, methods]) => `${key.split(' ', 1)[0]} ${sorted(methods).join()}`,
  );
  return Array.from(groups, ([key, members]) => {
    const [action = '', methods = ''] = key.split(' ');
    const paths = sorted(members.map(([one]) => one.slice(action.length + 1)));
    return { action, about: { http: { methods: methods.split(','), paths } } };
  }).toSorted((a, b) => byText(a.action, b.action));
}

/** Patterns of paths that were asked for by one method. */
function generalised(paths: readonly string[]): ReadonlySet<string> {
  const shapes = Map.groupBy(new Set(paths), (path) =>
    path
      .split('/')
      .map((one) => (isId(one) ? '*' : escaped(one)))
      .join('/'),
  );
  const patterns = new Set<string>();
  for (const [shape, members] of shapes) {
    const [first = ''] = members;
    const varying = first
      .split('/')
      .map((_, i) => new Set(members.map((path) => path.split('/')[i])).size > 1);
    for (const path of members) {
      const parts = path
        .split('/')
        .map((one, i) => (varying[i] === true ? (shape.split('/')[i] ?? one) : escaped(one)));
      patterns.add(parts.join('/'));
    }
  }
  return patterns;
}

/** A number, a UUID, or a long text of letters and digits. */
function isId(segment: string): boolean {
  if (/^\d+$/.test(segment) || /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(segment))
    return true;
  return (
    /^[\w-]{8,}$/.test(segment) && /\d.*\d/.test(segment) && /^[0-9a-f-]+$|^.{16,}$/i.test(segment)
  );
}

/** A literal star in a pattern. */
function escaped(segment: string): string {
  return segment.replaceAll('*', '%2A');
}

function mcpRules(seen: readonly Observation[]): readonly Unnamed[] {
  const of = (key: 'tool' | 'prompt' | 'resource'): readonly string[] =>
    sorted(new Set(seen.flatMap((one) => one[key] ?? [])));
  // What belongs to every conversation needs no rule of its own.
  const methods = sorted(
    new Set(
      seen.flatMap(({ mcpMethod = '' }) =>
        CLIENT_METHODS.get(mcpMethod)?.subject === 'method' ? mcpMethod : [],
      ),
    ),
  );
  const [tools, prompts, resources] = [of('tool'), of('prompt'), of('resource')];
  const none = { tools: [], prompts: [], resources: [], methods: [] };
  return [
    ...(tools.length > 0 ? [{ action: 'execute', about: { mcp: { ...none, tools } } }] : []),
    ...(prompts.length + resources.length > 0
      ? [{ action: 'read', about: { mcp: { ...none, prompts, resources } } }]
      : []),
    ...(methods.length > 0 ? [{ action: 'read', about: { mcp: { ...none, methods } } }] : []),
  ];
}

function grpcRules(seen: readonly Observation[]): readonly Unnamed[] {
  const calls = seen.flatMap(({ path }) => {
    const [, service, method] = /^\/([\w.]+)\/(\w+)$/.exec(path ?? '') ?? [];
    return service === undefined || method === undefined ? [] : [{ service, method }];
  });
  const groups = Map.groupBy(
    calls,
    ({ service, method }) => `${isReading(method) ? 'read' : 'write'} ${service}`,
  );
  return Array.from(groups, ([key, members]) => {
    const [action = '', service = ''] = key.split(' ');
    return {
      action,
      about: {
        grpc: {
          services: [service],
          methods: sorted(new Set(members.map(({ method }) => method))),
        },
      },
    };
  });
}

function isReading(method: string): boolean {
  return /^(?:Get|List|Watch|Describe|Read|Search|Query|Count|Check)/.test(method);
}

function destinationsOf(
  seen: readonly Observation[],
  policy: Policy,
): readonly SuggestedDestination[] {
  const taken = new Set(policy.byName.keys());
  const groups = Map.groupBy(
    seen,
    ({ host, entry }) => `${entry === 'connect' ? 'tunnel' : 'plain'} ${host}`,
  );
  return Array.from(groups, ([key, members]) => {
    const [way, host = ''] = key.split(' ');
    const tunnel = way === 'tunnel';
    const ports = [...new Set(members.map(({ port }) => port))].toSorted((a, b) => a - b);
    const rules = tunnel ? [] : named(httpRules(members), new Set());
    return { name: free(slug(host), taken), host, ports, tunnel, rules };
  });
}

/** A host as a name of a document. */
function slug(host: string): string {
  const name = host.replaceAll(/[^a-z0-9]+/g, '-').slice(0, 56);
  return name.replaceAll(/^-+|-+$/g, '') || 'destination';
}

function sorted(texts: Iterable<string>): readonly string[] {
  return [...texts].toSorted(byText);
}

function byText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
