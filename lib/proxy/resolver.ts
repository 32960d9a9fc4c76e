/**
 * Names to addresses, through the system's resolver. A name that the agent supplied is asked for absolutely, with a trailing dot: no search list can turn
 * it into another name, and /etc/hosts, which belongs to the operator's names, is not read for it. It is only asked for after it was allowed.
 */
import type { LookupAddress } from 'node:dns';
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

/** Lookups under way at one time. A lookup cannot be cancelled and the engine runs few at once: without an end, names that hang would keep all others waiting. */
const MOST_LOOKUPS = 64;

/** Questions for one name at the same time are one lookup. Throws a Fault `too-many` while DNS keeps too many names waiting. */
export function systemResolver(): Resolver {
  const underWay = new Map<string, Promise<readonly LookupAddress[]>>();
  const ask = (name: string): Promise<readonly LookupAddress[]> => {
    const asked = underWay.get(name);
    if (asked !== undefined) return asked;
    if (underWay.size >= MOST_LOOKUPS) throw tooMany();
    const answer = lookup(name, { all: true, order: 'verbatim' }).finally(() => underWay.delete(name));
    underWay.set(name, answer);
    return answer;
  };
  return Object.freeze({
    async resolve(name: string, { absolute, signal }: ResolveOptions): Promise<readonly string[]> {
      try {
        const answer = await unlessAborted(ask(absolute ? `${name}.` : name), signal);
        return answer.map(({ address }) => address);
      } catch (failure) {
        throw failure instanceof Fault ? failure : unresolved(name, absolute, failure);
      }
    },
  });
}

function tooMany(): Fault {
  return new Fault('too-many', `${MOST_LOOKUPS} names are being resolved at one time`, {
    hint: 'DNS is slow or silent: look at it, and at names that nobody has',
  });
}

function unresolved(name: string, absolute: boolean, cause: unknown): Fault {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  const hint = absolute
    ? 'the name is resolved as it stands, without a search list; if it is yours, write upstream.address in the destination'
    : 'look at upstream.address of the destination, and at DNS';
  return new Fault('upstream-unresolved', `${name} cannot be resolved (${code})`, { hint, cause });
}

/** getaddrinfo cannot be cancelled; what it answers after the abort is dropped. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const off = onAbort(signal, reject);
    promise.then(resolve, reject).finally(off);
  });
}
