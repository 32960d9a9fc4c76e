/** Rules about `tls` of a Destination; joined to those of checks.ts. */
import { isLoopback } from '../../net/ip.ts';
import { at, when } from '../documents/finding.ts';
import { isOfRequests } from '../documents/protocols.ts';
import type { Check, Spec } from './finding.ts';

export const TLS_CHECKS: readonly Check[] = Object.freeze([
  {
    name: 'credentials-need-tls',
    doc:
      '`credentials` need a protocol that is judged per request and a mode in which TLS ' +
      'starts here: a bearer token is never sent in the clear.',
    find: (spec) =>
      when(
        spec.credentials !== undefined && (!isOfRequests(spec) || spec.tls.mode === 'plaintext'),
        at('credentials'),
        `a bearer token cannot be added in protocol ${spec.protocol} and mode ${spec.tls.mode}`,
        'write protocol: http and mode: mtls, web-mtls or web, or remove credentials',
      ),
  },
  {
    name: 'mtls-needs-peers',
    doc: 'Mode mtls needs `tls.peers`: without them any workload of the trust domain could answer.',
    find: ({ tls }) =>
      when(
        tls.mode === 'mtls' && tls.peers === undefined,
        at('tls'),
        'mode mtls has no peers: any workload of the trust domain could answer',
        'write peers: [spiffe://trust-domain/path] with the SPIFFE ID of the upstream',
      ),
  },
  {
    name: 'peers-need-mtls',
    doc: '`tls.peers` belongs to mode mtls: in the other modes nobody proves a SPIFFE ID.',
    find: ({ tls }) =>
      when(
        tls.mode !== 'mtls' && tls.peers !== undefined,
        at('tls', 'peers'),
        `in mode ${tls.mode} the upstream proves no SPIFFE ID`,
        'write mode: mtls, or remove peers',
      ),
  },
  {
    name: 'peers-share-a-trust-domain',
    doc:
      'All `tls.peers` are of one trust domain: only its bundle is trusted, so that no other ' +
      'domain can vouch for them.',
    find({ tls: { peers = [] } }) {
      const home = peers[0]?.trustDomain;
      return peers.flatMap((one, i) =>
        when(
          one.trustDomain !== home,
          at('tls', 'peers', i),
          `the peers are of two trust domains, ${home} and ${one.trustDomain}`,
          'write one destination for each trust domain',
        ),
      );
    },
  },
  {
    name: 'roots-need-a-web-mode',
    doc: '`tls.roots` belongs to the modes web and web-mtls.',
    find: ({ tls }) =>
      when(
        tls.roots !== undefined && !tls.mode.startsWith('web'),
        at('tls', 'roots'),
        `mode ${tls.mode} does not read ` +
          `roots${tls.mode === 'mtls' ? ': it trusts the bundle of the trust domain of its peers' : ''}`,
        'remove them, or write mode: web',
      ),
  },
  {
    name: 'server-name-needs-our-tls',
    doc: '`tls.serverName` belongs to modes in which TLS starts here.',
    find: ({ tls }) =>
      when(
        tls.serverName !== undefined && (tls.mode === 'passthrough' || tls.mode === 'plaintext'),
        at('tls', 'serverName'),
        `in mode ${tls.mode} no TLS starts here`,
        'remove it',
      ),
  },
  {
    name: 'insecure-needs-plaintext',
    doc: '`tls.insecure` belongs to mode plaintext.',
    find: ({ tls }) =>
      when(
        tls.insecure !== undefined && tls.mode !== 'plaintext',
        at('tls', 'insecure'),
        `mode ${tls.mode} is never insecure`,
        'remove it',
      ),
  },
  {
    name: 'plaintext-stays-on-loopback',
    doc:
      'Mode plaintext reaches loopback addresses written as literals, unless `insecure: ' +
      'true` is written.',
    find: (spec) =>
      when(
        spec.tls.mode === 'plaintext' &&
          spec.tls.insecure !== true &&
          !upstreamIs(spec, isLoopback),
        at('tls', 'mode'),
        'plaintext to an upstream that is not a loopback address can be read and ' +
          'changed on its way',
        'use mtls or web, write the upstream as 127.0.0.1:port, or write insecure: true',
      ),
  },
  {
    name: 'intercept-needs-requests',
    doc: '`tls.intercept` needs requests that are judged: not mode passthrough, not protocol tcp.',
    find: (spec) =>
      when(
        spec.tls.intercept && !isOfRequests(spec),
        at('tls', 'intercept'),
        spec.tls.mode === 'passthrough'
          ? 'in mode passthrough the TLS of the agent is left alone'
          : `protocol ${spec.protocol} has no requests to look into`,
        'remove it, or write protocol: http and mode: web, web-mtls or mtls',
      ),
  },
  {
    name: 'ech-needs-passthrough',
    doc: '`tls.ech` belongs to mode passthrough: where TLS ends here the extension hides nothing.',
    find: ({ tls }) =>
      when(
        tls.ech !== undefined && tls.mode !== 'passthrough',
        at('tls', 'ech'),
        `in mode ${tls.mode} no ClientHello of the agent goes on`,
        'remove it',
      ),
  },
]);

/** Whether everything the destination leads to is a literal that passes. */
function upstreamIs(spec: Spec, passes: (host: string) => boolean): boolean {
  const address = spec.upstream?.address;
  if (address !== undefined) return passes(address.host);
  return spec.hosts.every(({ host }) => passes(host));
}
