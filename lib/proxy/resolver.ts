/**
 * Names to addresses, through the system's resolver. A name that the agent supplied is asked for absolutely, with a trailing dot: no search list can turn
 * it into another name, and /etc/hosts, which belongs to the operator's names, is not read for it. It is only asked for after it was allowed.
 */
import { lookup } from 'node:dns/promises';
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';

export interface Resolver {
  /** All addresses of the name, in the system's order. Throws a Fault `upstream-unresolved`, or the signal's reason. */
  resolve(name: string, options: ResolveOptions): Promise<readonly string[]>;
}

export interface ResolveOptions {
  /** Without the search list: the name is the agent's. */
  readonly absolute: boolean;
  readonly signal: AbortSignal;
}

export const systemResolver: Resolver = Object.freeze({
  async resolve(name: string, { absolute, signal }: ResolveOptions): Promise<readonly string[]> {
    try {
      const answer = await unlessAborted(
        lookup(absolute ? `${name}.` : name, { all: true, order: 'verbatim' }),
        signal,
      );
      return answer.map(({ address }) => address);
    } catch (failure) {
      if (failure instanceof Fault) throw failure;
      const code = failure instanceof Error && 'code' in failure ? String(failure.code) : String(failure);
      const hint = absolute
        ? 'the name is resolved as it stands, without a search list; if it is yours, write upstream.address in the destination'
        : 'look at upstream.address of the destination, and at DNS';
      throw new Fault('upstream-unresolved', `${name} cannot be resolved (${code})`, { hint, cause: failure });
    }
  },
});

/** getaddrinfo cannot be cancelled; what it answers after the abort is dropped. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const off = onAbort(signal, reject);
    promise.then(resolve, reject).finally(off);
  });
}
