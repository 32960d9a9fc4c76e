/**
 * What one key cannot say alone: rules over several keys of one Destination, as a list of small
 * named functions. The reference page lists them by their words; each has a test by its name.
 */
import { classOf, judgeAddress } from '../../net/addresses.ts';
import { isLoopback, parseIp } from '../../net/ip.ts';
import { at, when, type Check, type Finding, type Spec } from './finding.ts';
import { MCP_CHECKS } from './mcp.ts';
import { TLS_CHECKS } from './tls.ts';
import type { Step } from '../../schema/tree.ts';
import { WAY_CHECKS } from './upstream.ts';

export const DESTINATION_CHECKS: readonly Check[] = Object.freeze([
  ...TLS_CHECKS,
  ...WAY_CHECKS,
  ...MCP_CHECKS,
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
    find: ({ when: condition, protocol, tls }) =>
      when(
        condition !== undefined && protocol !== 'tcp' && tls.mode !== 'passthrough',
        at('when'),
        'its requests are judged by rules',
        'write when on a rule',
      ),
  },
  {
    name: 'tcp-has-no-rules',
    doc: 'Protocol tcp has no `rules`: being the destination is the permission.',
    find: ({ protocol, rules }) =>
      when(
        protocol === 'tcp' && rules.length > 0,
        at('rules'),
        'protocol tcp is not HTTP: rules could not be enforced',
        'remove the rules, or write protocol: http',
      ),
  },
  {
    name: 'no-rules-no-report',
    doc:
      '`mode: report` needs requests that are judged: not in mode passthrough and not with ' +
      'protocol tcp.',
    find: ({ mode, protocol, tls }) =>
      when(
        mode === 'report' && (protocol === 'tcp' || tls.mode === 'passthrough'),
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
      protocol === 'tcp' ? [] : rules.flatMap((rule, i) => ruleMisfits(protocol, rule, i)),
  },
  {
    name: 'upstream-http-is-for-http',
    doc:
      '`upstream.http` belongs to protocol http, and to modes in which the requests are ' +
      'ours to send.',
    find: ({ protocol, tls, upstream }) =>
      when(
        upstream?.http !== undefined && (protocol !== 'http' || tls.mode === 'passthrough'),
        at('upstream', 'http'),
        protocol === 'grpc'
          ? 'protocol grpc is always HTTP/2'
          : 'no requests of ours are sent there',
        'remove it',
      ),
  },
  {
    name: 'upstream-host-is-for-requests',
    doc:
      '`upstream.host` belongs to protocols http, mcp and grpc, in modes in which the ' +
      'requests are ours to send.',
    find: ({ protocol, tls, upstream }) =>
      when(
        upstream?.host !== undefined && (protocol === 'tcp' || tls.mode === 'passthrough'),
        at('upstream', 'host'),
        'no requests of ours are sent there',
        'remove it',
      ),
  },
  {
    name: 'no-websocket-over-h2',
    doc: '`websocket` needs an upstream that is spoken to in HTTP/1.1.',
    find: ({ upstream, rules }) =>
      rules.flatMap(({ http }, i) =>
        when(
          upstream?.http === 'h2' && http?.websocket === true,
          at('rules', i, 'http', 'websocket'),
          'no WebSocket is opened over HTTP/2',
          'remove upstream.http, or write a destination for the WebSocket',
        ),
      ),
  },
  {
    name: 'grpc-is-not-passthrough',
    doc: 'Protocol grpc is not for mode passthrough: its calls are judged one by one.',
    find: ({ protocol, tls }) =>
      when(
        protocol === 'grpc' && tls.mode === 'passthrough',
        at('tls', 'mode'),
        'in mode passthrough the calls are inside the TLS of the agent',
        'write mode: mtls, web-mtls or web',
      ),
  },
  {
    name: 'websocket-is-allowed-only',
    doc:
      '`websocket` belongs to allow rules: deny rules hold for WebSocket as for ' +
      'everything else.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, http }, i) =>
        when(
          effect === 'deny' && http?.websocket === true,
          at('rules', i, 'http', 'websocket'),
          'a deny rule is about WebSocket anyway',
          'remove it',
        ),
      ),
  },
  {
    name: 'content-on-get-is-allowed-only',
    doc:
      '`contentOnGet` belongs to allow rules: deny rules hold for a GET with content as for ' +
      'every other.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, http }, i) =>
        when(
          effect === 'deny' && http?.contentOnGet === 'allow',
          at('rules', i, 'http', 'contentOnGet'),
          'a deny rule is about a GET with content anyway',
          'remove it',
        ),
      ),
  },
  {
    name: 'streaming-is-allowed-only',
    doc: '`streaming` belongs to allow rules: deny rules hold for calls of every kind.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, grpc }, i) =>
        when(
          effect === 'deny' && grpc?.streaming === true,
          at('rules', i, 'grpc', 'streaming'),
          'a deny rule is about streaming calls anyway',
          'remove it',
        ),
      ),
  },
  {
    name: 'listen-needs-a-destination-to-stand-for',
    doc:
      'Protocol tcp with `listen` needs `upstream.address` and a host without wildcard: a ' +
      'connection does not say where it wants to go.',
    find: ({ listen, protocol, upstream, hosts }) =>
      listen === undefined || protocol !== 'tcp'
        ? []
        : [
            ...when(
              upstream?.address === undefined,
              at('listen'),
              'a connection does not say where it wants to go',
              'write upstream: { address: host:port }',
            ),
            ...when(
              hosts.every(({ kind }) => kind === 'wildcard'),
              at('hosts'),
              'a connection does not say which host is meant',
              'write a host without wildcard',
            ),
          ],
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

const ABOUT = Object.freeze({
  http: 'write http: {} for all requests',
  grpc: 'write grpc: {} for all calls',
  mcp: 'write mcp: { tools: [name] }',
});

function ruleMisfits(
  protocol: keyof typeof ABOUT,
  rule: Spec['rules'][number],
  i: number,
): readonly Finding[] {
  const { http, grpc, mcp } = rule;
  if (protocol === 'mcp' && http !== undefined)
    return [...misfit(rule, i, { key: 'grpc', protocol }), ...twice(rule, i)];
  const said = {
    http,
    grpc,
    mcp: mcp && Object.values(mcp).some((value) => value !== undefined) ? mcp : undefined,
  };
  const foreign = (['http', 'grpc', 'mcp'] as const).filter(
    (key) => key !== protocol && rule[key] !== undefined,
  );
  const nothing = `a rule of protocol ${protocol} says nothing under ${protocol}`;
  return [
    ...when(said[protocol] === undefined, at('rules', i), nothing, ABOUT[protocol]),
    ...foreign.flatMap((key) => misfit(rule, i, { key, protocol })),
  ];
}

type Misfit = { readonly key: 'http' | 'grpc' | 'mcp'; readonly protocol: string };

function misfit(
  rule: Spec['rules'][number],
  i: number,
  { key, protocol }: Misfit,
): readonly Finding[] {
  const message = `protocol ${protocol} has no ${key} to be seen`;
  return when(rule[key] !== undefined, at('rules', i, key), message, 'remove it');
}

/** A message is no other request. */
function twice({ mcp }: Spec['rules'][number], i: number): readonly Finding[] {
  const message = 'a rule is about messages or about requests beside them, not about both';
  return when(mcp !== undefined, at('rules', i, 'http'), message, 'write two rules');
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
