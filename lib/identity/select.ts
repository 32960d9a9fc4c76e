/**
 * Which of several X.509-SVIDs we act as (Workload API sections 5.2.1 and 8), over the list as it
 * was received.
 */
import { Fault } from '../base/fault.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import { quoted } from '../spiffe/trust-domain.ts';

/** All that is given must fit; nothing given means the first. */
export interface Select {
  readonly spiffeId?: SpiffeId | undefined;
  readonly hint?: string | undefined;
}

interface Named {
  readonly spiffeId: string;
  readonly hint: string;
}

export function selected<T extends Named>(
  list: readonly T[],
  { spiffeId, hint }: Select,
): T | undefined {
  return list.find(
    (one) =>
      (spiffeId === undefined || one.spiffeId === spiffeId) &&
      (hint === undefined || one.hint === hint),
  );
}

/** Why none of the list is the one. */
export function missing(list: readonly Named[], { spiffeId, hint }: Select): Fault {
  const wanted = [spiffeId ?? [], hint === undefined ? [] : `hint ${JSON.stringify(hint)}`]
    .flat()
    .join(' with ');
  const issued = list.map((one) => {
    const id = one.spiffeId.startsWith('spiffe://') ? one.spiffeId : quoted(one.spiffeId);
    return one.hint === '' ? id : `${id} (hint ${quoted(one.hint)})`;
  });
  return new Fault(
    'no-identity',
    `no X.509-SVID was issued for ${wanted}; issued were ${issued.join(', ')}`,
    {
      hint: 'compare identity.select with the registration entries of this workload',
    },
  );
}

/** Of those with one hint the first stays (section 5.2.1); an empty hint is none. */
export function firstOfEachHint<T extends Named>(list: readonly T[]): readonly T[] {
  const seen = new Set<string>();
  return list.filter(({ hint }) => {
    if (hint === '') return true;
    const fresh = !seen.has(hint);
    seen.add(hint);
    return fresh;
  });
}
