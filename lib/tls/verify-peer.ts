/**
 * The checks that make a SPIFFE peer, after OpenSSL validated its path; the same in both
 * directions.
 */
import type { X509Certificate } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import { trustDomainOf, type SpiffeId } from '../spiffe/id.ts';
import type { Identity } from '../spiffe/identity.ts';
import type { PeerPattern } from '../spiffe/pattern.ts';
import { verifyChainProfile } from '../spiffe/verify.ts';
import type { TlsContexts } from './context.ts';
import { pathFault } from './faults.ts';
import { pathProblem } from './path.ts';
import { claimOf, type Side } from './peer.ts';

export interface PeerCheck {
  readonly side: Side;
  /** Who it may be; none matches nobody. */
  readonly patterns: readonly PeerPattern[];
  readonly identity: Identity;
  readonly contexts: TlsContexts;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * The peer's SPIFFE ID when `chain` (as sent, leaf first; its path already validated against the
 * anchors of all trust domains that `patterns` name) is an X.509-SVID of a peer that is expected.
 * Throws a Fault with what was expected and what was seen.
 */
export async function verifyPeer(
  chain: readonly X509Certificate[],
  check: PeerCheck,
): Promise<SpiffeId> {
  const { side, patterns, identity, contexts } = check;
  const id = profiled(chain, check);
  if (!patterns.some((pattern) => pattern.matches(id))) {
    const expected = patterns.map(({ text }) => text).join(', ');
    throw new Fault(
      side.unexpected,
      `${side.who} is ${id}, which is not expected here: expected ${expected || 'nobody'}`,
      {
        hint:
          'if that is the right peer, add its SPIFFE ID to the list; if not, the address ' +
          'leads to another workload',
      },
    );
  }
  if (new Set(patterns.map(({ trustDomain }) => trustDomain)).size > 1) {
    const problem = await pathProblem(chain, contexts.anchors(identity, trustDomainOf(id)));
    if (problem !== undefined) throw pathFault(side, problem, claimOf(chain[0]));
  }
  return id;
}

function profiled(
  chain: readonly X509Certificate[],
  { side, patterns, identity, now }: PeerCheck,
): SpiffeId {
  const domains = new Set(patterns.map(({ trustDomain }) => trustDomain));
  const anchors = [...domains].flatMap((domain) => identity.bundles.get(domain)?.anchors ?? []);
  try {
    return verifyChainProfile(chain, now, { anchors });
  } catch (failure) {
    const { message, hint } = Fault.from(failure, side.unexpected);
    throw new Fault(
      side.unexpected,
      `${side.who} presented no valid X.509-SVID: ${message}; it presented ${claimOf(chain[0])}`,
      {
        ...(hint === undefined ? {} : { hint }),
        cause: failure,
      },
    );
  }
}

/**
 * The identity when there is one and its SVID is valid now; else a Fault `no-identity` or
 * `identity-expired`.
 */
export function usable(identity: Identity | undefined, now: number): Identity {
  if (identity === undefined) {
    throw new Fault('no-identity', 'there is no SVID to present yet', {
      hint: 'see /readyz for what is awaited',
    });
  }
  if (now < identity.svid.notAfter) return identity;
  throw new Fault(
    'identity-expired',
    `our SVID expired at ${new Date(identity.svid.notAfter).toISOString()}`,
    {
      hint: 'the Workload API issued no newer one: look at the SPIRE agent, and at the clock',
    },
  );
}
