/** Waiting for the first SVID, with a limit and with the reason when it does not come. */
import { systemClock } from '../lib/base/clock.ts';
import { Fault } from '../lib/base/fault.ts';
import { link } from '../lib/base/signal.ts';
import { parseDuration } from '../lib/config/documents/scalars.ts';
import type { IdentitySource } from '../lib/identity/source.ts';
import type { Identity } from '../lib/spiffe/identity.ts';

/**
 * @throws Fault `timeout` after `timeout` (such as `30s`), with what the Workload API said last;
 *         else the reason of `signal`
 */
export async function firstSvid(
  source: IdentitySource,
  timeout: string,
  signal: AbortSignal,
): Promise<Identity> {
  using limit = link(signal);
  const giveUp = systemClock.after(
    parseDuration(timeout),
    () => limit.abort(tooLate(source, timeout)),
    true,
  );
  try {
    return await source.firstUpdate(limit.signal);
  } finally {
    giveUp();
  }
}

function tooLate({ states }: IdentitySource, timeout: string): Fault {
  const state = states.get();
  const problem = state?.kind === 'current' ? undefined : state?.problem;
  return new Fault(
    'timeout',
    `no SVID came within ${timeout}${problem === undefined ? '' : `: ${problem}`}`,
    {
      hint: 'is there a registration entry for this process, and is the socket the right one?',
    },
  );
}
