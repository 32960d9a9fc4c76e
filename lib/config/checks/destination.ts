/**
 * What one key cannot say alone: rules over several keys of one Destination, as a list of small
 * named functions. The reference page lists them by their words; each has a test by its name.
 */
import { classOf, judgeAddress } from '../../net/addresses.ts';
import { isLoopback, parseIp } from '../../net/ip.ts';
import { PROTOCOLS } from '../../policy/protocols/index.ts';
import { type Finding, at, when } from '../documents/finding.ts';
import { FOREIGN, PROTOCOL_DOCUMENTS, RULE_KEYS, isOfRequests } from '../documents/protocols.ts';
import type { Check, Spec } from './finding.ts';
import { TLS_CHECKS } from './tls.ts';
import type { Step } from '../../schema/tree.ts';
import { UPSTREAM_CHECKS } from './upstream.ts';

const COMMON: readonly Check[] = Object.freeze([
  ...TLS_CHECKS,
  ...UPSTREAM_CHECKS,
  {
    name: 'passthrough-has-no-rules',
    doc: 'Mode passthrough has no `rules`: the requests are inside the TLS of the agent.',
    find: ({ tls, rules }) =>
      when(
        tls.mode === 'passthrough' && rules.length > 0,
        at('rules'),
        'in mode passthrough the requests are inside the TLS of the agent: rules could ' +
          'not be enforced',
        'remove the rules, or use mode web and let the agent say http://',
      ),
  },
  {
    name: 'when-is-for-connections',
    doc:
      '`when` of a destination belongs to protocol tcp and mode passthrough: elsewhere the ' +
      'rules have conditions.',
    find: (spec) =>
      when(
        spec.when !== undefined && isOfRequests(spec),
        at('when'),
        'its requests are judged by rules',
        'write when on a rule',
      ),
  },
  {
    name: 'no-rules-no-report',
    doc:
      '`mode: report` needs requests that are judged: not in mode passthrough and not with ' +
      'protocol tcp.',
    find: (spec) =>
      when(
        spec.mode === 'report' && !isOfRequests(spec),
        at('mode'),
        'there are no requests to report on',
        'remove mode',
      ),
  },
  {
    name: 'allow-rules-have-an-action',
    doc: 'Allow rules have an `action`, deny rules have none.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, action }, i) => [
        ...when(
          effect === 'allow' && action === undefined,
          at('rules', i),
          'an allow rule has no action',
          'write action: read, write, admin, execute or your own',
        ),
        ...when(
          effect === 'deny' && action !== undefined,
          at('rules', i, 'action'),
          'a deny rule has an action',
          'remove it',
        ),
      ]),
  },
  {
    name: 'rules-fit-the-protocol',
    doc:
      'What a rule is about is written under the protocol of its destination: `http`, ' +
      '`grpc`, or `mcp` with at least one key. A rule of protocol mcp may have `http` ' +
      'instead: it is then about requests beside the endpoints.',
    find: ({ protocol, rules }) =>
      PROTOCOL_DOCUMENTS[protocol].keys.length === 0
        ? []
        : rules.flatMap((rule, i) => ruleMisfits(protocol, rule, i)),
  },
  {
    name: 'settings-fit-the-protocol',
    doc: 'Settings that are called as a protocol (`mcp`) belong to it alone.',
    find: (spec) =>
      Object.entries(FOREIGN).flatMap(([key, what]) =>
        when(
          key !== spec.protocol && Reflect.get(spec, key) !== undefined,
          at(key),
          `protocol ${spec.protocol} has no ${what}`,
          `write protocol: ${key}, or remove ${key}`,
        ),
      ),
  },
  {
    name: 'upstream-http-is-for-http',
    doc:
      '`upstream.http` belongs to protocol http, and to modes in which the requests are ' +
      'ours to send.',
    find: (spec) =>
      when(
        spec.upstream?.http !== undefined &&
          !(isOfRequests(spec) && PROTOCOL_DOCUMENTS[spec.protocol].choosesHttp),
        at('upstream', 'http'),
        PROTOCOLS[spec.protocol].http2
          ? `protocol ${spec.protocol} is always HTTP/2`
          : 'no requests of ours are sent there',
        'remove it',
      ),
  },
  {
    name: 'upstream-host-is-for-requests',
    doc:
      '`upstream.host` belongs to protocols http, mcp and grpc, in modes in which the ' +
      'requests are ours to send.',
    find: (spec) =>
      when(
        spec.upstream?.host !== undefined && !isOfRequests(spec),
        at('upstream', 'host'),
        'no requests of ours are sent there',
        'remove it',
      ),
  },
  {
    name: 'no-listen-for-passthrough',
    doc:
      'Mode passthrough has no `listen`: it is reached by CONNECT, whose host the ' +
      'ClientHello is held against.',
    find: ({ listen, tls }) =>
      when(
        listen !== undefined && tls.mode === 'passthrough',
        at('listen'),
        'mode passthrough is reached by CONNECT alone',
        'remove listen',
      ),
  },
  {
    name: 'listen-on-loopback',
    doc: '`listen` is a loopback address, unless `unsafeNonLoopback: true` is written.',
    find: ({ listen, unsafeNonLoopback }) =>
      when(
        listen !== undefined && !isLoopback(listen.host) && !unsafeNonLoopback,
        at('listen'),
        'whoever reaches this address acts with the identity of this sidecar',
        'listen on 127.0.0.1 or [::1], or write unsafeNonLoopback: true',
      ),
  },
  {
    name: 'upstream-may-be-dialled',
    doc:
      'An upstream written as an IP address is one that may be dialled: never metadata, ' +
      'link-local or other special-purpose addresses; private ones with mode mtls or in ' +
      '`upstream.cidrs`.',
    find: (spec) =>
      literals(spec).flatMap(({ steps, host, written }) =>
        judgeLiteral(spec, steps, { host, written }),
      ),
  },
]);

/** Every check there is: of all destinations, and of those of one protocol. */
export const DESTINATION_CHECKS: readonly Check[] = Object.freeze([
  ...COMMON,
  ...new Set(Object.values(PROTOCOL_DOCUMENTS).flatMap((one): readonly Check[] => one.checks)),
]);

export function checkDestination(spec: Spec): readonly Finding[] {
  const own: readonly Check[] = PROTOCOL_DOCUMENTS[spec.protocol].checks;
  return [...COMMON, ...own].flatMap((check) => check.find(spec));
}

function ruleMisfits(
  protocol: Spec['protocol'],
  rule: Spec['rules'][number],
  i: number,
): readonly Finding[] {
  const said = PROTOCOL_DOCUMENTS[protocol];
  const foreign = Object.keys(RULE_KEYS).filter((key) => !said.keys.includes(key));
  const nothing = `a rule of protocol ${protocol} says nothing under ${protocol}`;
  return [
    ...when(!said.says(rule), at('rules', i), nothing, said.example),
    ...foreign.flatMap((key) => {
      const message = `protocol ${protocol} has no ${key} to be seen`;
      return when(Reflect.get(rule, key) !== undefined, at('rules', i, key), message, 'remove it');
    }),
  ];
}

interface Literal {
  readonly steps: readonly Step[];
  readonly host: string;
  /** As `upstream.address`, not as what the agent asks for. */
  readonly written: boolean;
}

/** IP addresses that the document would have us dial. */
function literals({ upstream, hosts }: Spec): readonly Literal[] {
  const address = upstream?.address;
  if (address !== undefined) {
    return parseIp(address.host) === undefined
      ? []
      : [{ steps: at('upstream', 'address'), host: address.host, written: true }];
  }
  return hosts.flatMap(({ kind, host }, i) =>
    kind === 'address' ? [{ steps: at('hosts', i), host, written: false }] : [],
  );
}

function judgeLiteral(
  spec: Spec,
  steps: readonly Step[],
  { host, written }: Pick<Literal, 'host' | 'written'>,
): readonly Finding[] {
  const proved = written && spec.tls.mode === 'mtls';
  const rule = {
    loopback: true,
    private: proved,
    cidrs: spec.upstream?.cidrs ?? [],
    own: new Set<string>(),
  };
  const why = judgeAddress(host, rule);
  if (why === undefined) return [];
  const fix =
    classOf(host) === 'private'
      ? `write upstream: { cidrs: [${host}/${host.includes(':') ? 128 : 32}] }, or mode mtls ` +
        'with upstream.address'
      : 'write another address';
  return [{ steps, message: `${host} may not be dialled: ${why}`, fix }];
}
