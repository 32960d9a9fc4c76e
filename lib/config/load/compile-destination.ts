/**
 * From a Destination that decoded and passed the checks to the value that policy reads. No defaults
 * here: the schema has them all.
 */
import type { PathPolicy } from '../../net/path.ts';
import { spellingsOf } from '../../policy/conditions/spellings.ts';
import type { Limits, Via } from '../../policy/model/destination.ts';
import { type Destination, PROTOCOLS, type Service } from '../../policy/protocols/index.ts';
import { compileHeaders } from '../documents/headers.ts';
import { PROTOCOL_DOCUMENTS, protocolIn } from '../documents/protocols.ts';
import { type Conditions, compileRate } from '../documents/rule.ts';
import type { DestinationDocument } from '../documents/schema.ts';
import { compileCredentials } from './credentials.ts';

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
