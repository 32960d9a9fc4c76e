/**
 * Taking over from another process: the listening sockets come from whoever starts both. They are
 * taken once there is an identity to serve with, since until then the other process serves better.
 */
import { Fault } from '../../lib/base/fault.ts';
import { ignore } from '../../lib/base/signal.ts';
import type { IdentitySource } from '../../lib/identity/source.ts';
import type { Inherited } from '../../lib/listen/inherited.ts';
import type { Parts } from './parts.ts';

/** Waits for the first SVID, at most `identity.initialSync`, where there are sockets to take. */
export async function awaitTurn(
  identity: IdentitySource,
  inherited: Inherited,
  { clock, config, log }: Parts,
): Promise<void> {
  if (inherited.count > 0) {
    const enough = new AbortController();
    const over = new Fault('timeout', 'no SVID came in time');
    const cancel = clock.after(config.sidecar.identity.initialSync, () => enough.abort(over), true);
    log.log('info', 'listeners', 'inherited sockets are taken once there is an SVID');
    const first = identity.firstUpdate(enough.signal);
    ignore(first, 'what is accepted then is refused with the reason');
    await first.then(cancel, cancel);
  }
}

/** Says which of them nobody wants. */
export function closeRest(inherited: Inherited, { log }: Parts): void {
  for (const one of inherited.closeRest()) {
    log.log('warn', 'listeners', `the inherited socket ${one} is nobody's`, {
      hint: 'its address, path or name must be that of a listener: docs/operations.md lists them',
    });
  }
}
