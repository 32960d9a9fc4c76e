/**
 * What no document can say alone: rules over the whole set, as a list of small named functions like
 * those of lib/config/checks/destination.ts.
 */
import { resolve } from 'node:path';
import { formatAuthority } from '../../net/authority.ts';
import { isUnder } from '../../net/host.ts';
import { isLoopback } from '../../net/ip.ts';
import { tiesOf } from '../../policy/decision/lookup.ts';
import type { ListenAddress } from '../../policy/model/destination.ts';
import { placeText } from '../../schema/problem.ts';
import type { Step, Tree } from '../../schema/tree.ts';
import type { DestinationDocument } from '../documents/schema.ts';
import { isOfRequests } from '../documents/protocols.ts';
import type { DocumentSet } from '../documents/set.ts';
import type { Finding } from '../documents/finding.ts';

/** A finding and the document it is in. */
export interface Placed extends Finding {
  readonly tree: Tree;
}

export interface SetCheck {
  readonly name: string;
  readonly doc: string;
  find(set: DocumentSet): readonly Placed[];
}

export const SET_CHECKS: readonly SetCheck[] = Object.freeze([
  {
    name: 'names-are-unique',
    doc: 'Destinations have different names.',
    find({ destinations }) {
      const seen = new Map<string, Tree>();
      return destinations.flatMap(({ tree, document }) => {
        const { name } = document.metadata;
        const other = seen.get(name);
        if (other === undefined) seen.set(name, tree);
        const message =
          'another Destination has the name ' +
          `${name}${other === undefined ? '' : ` (${placeText(other.at)})`}`;
        return other === undefined
          ? []
          : [{ tree, steps: ['metadata', 'name'], message, fix: 'give one of them another name' }];
      });
    },
  },
  {
    name: 'hosts-do-not-tie',
    doc: 'No two destinations have the same host pattern for the same port.',
    find({ destinations }) {
      const claims = destinations.map((one) => {
        const { metadata, spec } = one.document;
        return { name: metadata.name, hosts: spec.hosts, ports: spec.ports, one };
      });
      return tiesOf(claims).map(({ pattern, port, first, second: { one: other } }) => {
        const index = other.document.spec.hosts.findIndex(({ text }) => text === pattern);
        const message =
          `${pattern} on port ${port} is also of destination ${first.name} ` +
          `(${placeText(first.one.tree.at)})`;
        return {
          tree: other.tree,
          steps: ['spec', 'hosts', index],
          message,
          fix: 'leave it to one of them',
        };
      });
    },
  },
  {
    name: 'data-classes-are-declared',
    doc: 'The `dataClass` of a destination is one of `dataClasses` of the Sidecar.',
    find({ sidecar, destinations }) {
      const declared = sidecar?.document.spec.dataClasses;
      if (declared === undefined) return [];
      return destinations
        .filter(
          ({ document: { spec } }) =>
            spec.dataClass !== undefined && !declared.includes(spec.dataClass),
        )
        .map(({ tree, document: { spec } }) => ({
          tree,
          steps: ['spec', 'dataClass'],
          message: `${spec.dataClass} is no data class`,
          fix: `write one of ${declared.join(', ')}`,
        }));
    },
  },
  {
    name: 'forward-on-loopback',
    doc:
      'The forward proxy listens on a loopback address, unless `unsafeNonLoopback: ' +
      'true` is written.',
    find({ sidecar }) {
      const forward = sidecar?.document.spec.forward;
      if (
        sidecar === undefined ||
        forward === undefined ||
        forward.unsafeNonLoopback ||
        isLoopback(forward.address.host)
      )
        return [];
      return [
        {
          tree: sidecar.tree,
          steps: ['spec', 'forward', 'address'],
          message: 'whoever reaches this address acts with the identity of this sidecar',
          fix: 'listen on 127.0.0.1 or [::1], or write unsafeNonLoopback: true',
        },
      ];
    },
  },
  {
    name: 'intercepted-hosts-are-declared',
    doc:
      '`tls.intercept: true` needs `intercept` in the Sidecar, and the hosts of the ' +
      'destination, which are names, lie inside `intercept.domains`.',
    find: ({ sidecar, sidecarBroken, destinations }) =>
      sidecarBroken
        ? []
        : destinations
            .filter(({ document: { spec } }) => spec.tls.intercept && isOfRequests(spec))
            .flatMap(({ tree, document }) =>
              undeclared(tree, document, sidecar?.document.spec.intercept?.domains),
            ),
  },
  {
    name: 'intercept-folders-are-apart',
    doc:
      '`intercept.trust.folder`, which the agent may read, and `intercept.ca.folder`, which ' +
      'it must not, are not the same and not inside each other.',
    find({ sidecar }) {
      const { ca, trust } = sidecar?.document.spec.intercept ?? {};
      if (sidecar === undefined || ca?.folder === undefined || trust === undefined) return [];
      const [key, open] = [resolve(ca.folder), resolve(trust.folder)];
      if (!contains(key, open) && !contains(open, key)) return [];
      const message = `${trust.folder} is for the agent to read, and the key of the CA is in ${ca.folder}`;
      const fix = 'name a folder of its own';
      return [
        { tree: sidecar.tree, steps: ['spec', 'intercept', 'trust', 'folder'], message, fix },
      ];
    },
  },
  {
    name: 'intercept-needs-forward',
    doc: '`intercept` needs `forward`, or `agents` with their own: tunnels are opened there.',
    find: ({ sidecar }) =>
      sidecar?.document.spec.intercept === undefined ||
      sidecar.document.spec.forward !== undefined ||
      sidecar.document.spec.agents !== undefined
        ? []
        : [
            {
              tree: sidecar.tree,
              steps: ['spec', 'intercept'],
              message: 'there is no forward proxy on which a tunnel could be opened',
              fix: 'write forward: { address: 127.0.0.1:15001 }',
            },
          ],
  },
  {
    name: 'listeners-do-not-collide',
    doc: 'The listeners have different addresses and ports; 0.0.0.0 and [::] take every address.',
    find(set) {
      const taken: Listener[] = [];
      return listeners(set).flatMap((one) => {
        const other = taken.find((before) => collide(before.address, one.address));
        taken.push(one);
        if (other === undefined) return [];
        const message = `${formatAuthority(one.address.host, one.address.port)} is taken by ${other.name}`;
        return [{ tree: one.tree, steps: one.steps, message, fix: 'use another port' }];
      });
    },
  },
  {
    name: 'upstream-is-not-us',
    doc: 'No upstream is a listener of this sidecar.',
    find(set) {
      const own = listeners(set);
      return set.destinations.flatMap(({ tree, document }) => {
        const address = document.spec.upstream?.address;
        const hit =
          address === undefined ? undefined : own.find((one) => reaches(address, one.address));
        if (address === undefined || hit === undefined) return [];
        const message = `${formatAuthority(address.host, address.port)} is ${hit.name} of this sidecar`;
        return [
          {
            tree,
            steps: ['spec', 'upstream', 'address'],
            message,
            fix: 'write where the upstream really is',
          },
        ];
      });
    },
  },
]);

function contains(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? folder : `${folder}/`);
}

function undeclared(
  tree: Tree,
  { spec }: DestinationDocument,
  domains: readonly string[] | undefined,
): readonly Placed[] {
  if (domains === undefined) {
    const message =
      'the Sidecar document has no intercept: there is no CA that could stand in for these hosts';
    const fix = 'write intercept: { domains: [...] } in spec of the Sidecar document';
    return [{ tree, steps: ['spec', 'tls', 'intercept'], message, fix }];
  }
  return spec.hosts.flatMap(({ kind, host, text }, i) => {
    const steps = ['spec', 'hosts', i];
    if (kind === 'address') {
      const message = `${text} is an address: a ClientHello cannot name it, so it cannot be intercepted`;
      return [
        {
          tree,
          steps,
          message,
          fix: 'write a name, or a destination without tls.intercept for it',
        },
      ];
    }
    if (isUnder(host, domains)) return [];
    const message = `${text} lies outside intercept.domains of the Sidecar`;
    return [
      { tree, steps, message, fix: `add ${host} to intercept.domains, or remove tls.intercept` },
    ];
  });
}

interface Listener {
  readonly name: string;
  readonly address: ListenAddress;
  readonly tree: Tree;
  readonly steps: readonly Step[];
}

function listeners({ sidecar, destinations }: DocumentSet): readonly Listener[] {
  const { forward, health } = sidecar?.document.spec ?? {};
  const own = (
    name: string,
    address: ListenAddress | undefined,
    tree: Tree | undefined,
    steps: readonly Step[],
  ): readonly Listener[] =>
    address === undefined || tree === undefined ? [] : [{ name, address, tree, steps }];
  return [
    ...own('the forward proxy', forward?.address, sidecar?.tree, ['spec', 'forward', 'address']),
    ...own('the health listener', health?.address, sidecar?.tree, ['spec', 'health', 'address']),
    ...destinations.flatMap(({ tree, document: { metadata, spec } }) =>
      own(`the listener of destination ${metadata.name}`, spec.listen, tree, ['spec', 'listen']),
    ),
  ];
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** Port 0 takes a free one. */
function collide(a: ListenAddress, b: ListenAddress): boolean {
  return a.port !== 0 && a.port === b.port && (a.host === b.host || isAny(a.host) || isAny(b.host));
}

/** Whether dialling `upstream` ends at the listener, as far as the text says. */
function reaches(upstream: ListenAddress, listener: ListenAddress): boolean {
  if (listener.port === 0 || upstream.port !== listener.port) return false;
  return upstream.host === listener.host || (isAny(listener.host) && isLoopback(upstream.host));
}
