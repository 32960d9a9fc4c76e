/** Addresses that a route may dial. */
import { isIP } from 'node:net';
import { Fault } from '../base/fault.ts';
import { judgeAddress } from '../net/addresses.ts';
import { formatAuthority } from '../net/authority.ts';
import type { Via } from '../policy/model/destination.ts';
import type { Route } from './route.ts';

/** True if one of our own listeners has this address and port. */
export type Own = (address: string, port: number) => boolean;

export function judgeProxy(
  { host, port, text }: Via,
  address: string,
  own: Own,
): Fault | undefined {
  if (own(address, port)) return new Fault('loop', `the proxy ${text} of via is our own listener`);
  // The operator wrote it, and it is the operator's network that it stands in.
  const problem = judgeAddress(address, {
    loopback: isIP(host) !== 0,
    private: true,
    cidrs: [],
    own: NO_ADDRESSES,
  });
  if (problem === undefined) return undefined;
  return new Fault(
    'address-refused',
    `the proxy ${text} is ${address}, which may not be dialled: ${problem}`,
    {
      hint: 'look at via of the destination',
    },
  );
}

export function judgeTarget(route: Route, address: string, own: Own): Fault | undefined {
  if (own(address, route.port)) {
    const hint = 'the destination leads back to a listener of this sidecar';
    return new Fault(
      'loop',
      `${route.host} is ${formatAuthority(address, route.port, undefined)}, which is our ` +
        'own listener',
      { hint },
    );
  }
  const why =
    judgeAddress(address, { ...route.addresses, own: NO_ADDRESSES }) ??
    judgePlaintext(route, address);
  if (why === undefined) return undefined;
  const hint =
    'public addresses are allowed; others need upstream.address with mode mtls, or ' +
    'upstream.cidrs, in the destination';
  const subject = route.literal ? address : `${route.host} resolves to ${address}, which`;
  return new Fault('address-refused', `${subject} may not be dialled: ${why}`, { hint });
}

function judgePlaintext({ destination }: Route, address: string): string | undefined {
  const { mode, insecure } = destination.tls;
  if (mode !== 'plaintext' || insecure || address === '::1' || address.startsWith('127.'))
    return undefined;
  return 'tls.mode plaintext reaches loopback addresses alone unless insecure: true is written';
}

const NO_ADDRESSES: ReadonlySet<string> = new Set();
