/** What a Destination says whose connections are judged once: when one may be made. */
import type { ProtocolDocument } from './protocol-document.ts';
import type { TcpService } from '../../policy/protocols/tcp.ts';
import { type CheckOf, at, when } from './finding.ts';
import type { Conditions } from './rule.ts';

function compileTcp(_: unknown, conditions: Conditions): TcpService {
  return Object.freeze({ protocol: 'tcp', when: conditions.get('own') });
}

interface TcpSpec {
  readonly rules: readonly unknown[];
  readonly listen: unknown;
  readonly upstream: { readonly address: unknown } | undefined;
  readonly hosts: readonly { readonly kind: string }[];
}

const TCP_CHECKS: readonly CheckOf<TcpSpec>[] = Object.freeze([
  {
    name: 'tcp-has-no-rules',
    doc: 'Protocol tcp has no `rules`: being the destination is the permission.',
    find: ({ rules }) =>
      when(
        rules.length > 0,
        at('rules'),
        'protocol tcp is not HTTP: rules could not be enforced',
        'remove the rules, or write protocol: http',
      ),
  },
  {
    name: 'listen-needs-a-destination-to-stand-for',
    doc:
      'Protocol tcp with `listen` needs `upstream.address` and a host without wildcard: a ' +
      'connection does not say where it wants to go.',
    find: ({ listen, upstream, hosts }) =>
      listen === undefined
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
]);

export const TCP_DOCUMENT: ProtocolDocument<TcpSpec, TcpService> = Object.freeze({
  keys: [],
  example: 'remove the rules',
  hasPaths: false,
  choosesHttp: false,
  checks: TCP_CHECKS,
  says: () => false,
  unread: () => undefined,
  compile: compileTcp,
} satisfies ProtocolDocument<TcpSpec, TcpService>);
