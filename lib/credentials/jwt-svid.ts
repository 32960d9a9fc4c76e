/**
 * JWT-SVIDs as bearer tokens for upstreams, just in time. One token per (our SPIFFE ID, task,
 * audience), as JWT-SVID section 7.2 recommends:
 * - asked for when a request needs it, by one fetch however many requests wait;
 * - renewed in the background once half of its life is over; while it is valid, a Workload API that
 *   is slow or away costs nothing;
 * - forgotten with the identity it speaks for; bounded, least recently used first out.
 * The token is a secret: it goes into one field of one request and nowhere else.
 */
import type { Cell } from '../base/cell.ts';
import { type Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore, link, onAbort, reasonOf } from '../base/signal.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Identity, IdentityState } from '../spiffe/identity.ts';

export interface IssuedToken {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** Where tokens come from: lib/identity/source.ts. */
interface TokenIssuer {
  readonly states: Cell<IdentityState>;
  fetchJwtSvid(audience: string, signal: AbortSignal, as: SpiffeId): Promise<IssuedToken>;
}

export interface JwtSvids {
  /**
   * A token for this audience that is valid now. Throws a Fault `credential-unavailable`, or the
   * signal's reason.
   */
  obtain(audience: string, identity: Identity, asker: Asker): Promise<string>;
  /**
   * Lets go of what was obtained for a task that has ended, and says what of it stays valid
   * elsewhere: a JWT-SVID cannot be revoked (JWT-SVID section 7.2).
   */
  forget(task: string): readonly string[];
  /** Tokens held now. */
  readonly size: number;
}

/** Who asks: each task has tokens of its own, which end with it. */
export interface Asker {
  readonly signal: AbortSignal;
  readonly task?: string | undefined;
}

export interface JwtSvidsOptions {
  readonly issuer: TokenIssuer;
  readonly clock: Clock;
  /** Ends fetches under way. */
  readonly signal: AbortSignal;
}

/** A fetch that takes longer is given up. */
export const FETCH_TIMEOUT = 5_000;
/** Tokens held at one time. */
export const MAX_TOKENS = 1000;
/** A token this close to its end is not sent: it has to arrive valid. */
export const MARGIN = 5_000;
/** Pause after a renewal that failed. */
const RETRY = 1_000;

interface Held {
  token: IssuedToken | undefined;
  /** When to renew. */
  renewAt: number;
  fetching: Promise<IssuedToken> | undefined;
}

export function jwtSvids({ issuer, clock, signal }: JwtSvidsOptions): JwtSvids {
  const held = new Map<string, Held>();
  // What speaks for an identity that is gone must not be found again.
  issuer.states.follow((state) => {
    const ids = state.kind === 'current' ? state.identity.svids.map(({ id }) => id) : [];
    for (const key of held.keys())
      if (!ids.some((id) => key.startsWith(`${id} `))) held.delete(key);
  }, signal);

  const entryOf = (key: string): Held => {
    const entry = held.get(key) ?? { token: undefined, renewAt: 0, fetching: undefined };
    held.delete(key);
    held.set(key, entry);
    const oldest = held.keys().next();
    if (held.size > MAX_TOKENS && oldest.done !== true) held.delete(oldest.value);
    return entry;
  };

  const renew = (entry: Held, audience: string, as: SpiffeId): Promise<IssuedToken> =>
    (entry.fetching ??= fetchToken(issuer, { audience, as }, clock, signal)
      .then((token) => {
        const now = clock.now();
        entry.token = token;
        entry.renewAt = now + (token.expiresAt - now) / 2;
        return token;
      })
      .catch((failure: unknown) => {
        entry.renewAt = clock.now() + RETRY;
        throw failure;
      })
      .finally(() => (entry.fetching = undefined)));

  return {
    async obtain(audience, identity, { signal: asker, task = '' }) {
      const entry = entryOf(`${identity.svid.id} ${task} ${audience}`);
      const now = clock.now();
      const usable =
        entry.token !== undefined && now < entry.token.expiresAt - MARGIN ? entry.token : undefined;
      if (usable === undefined)
        return (await orAborted(renew(entry, audience, identity.svid.id), asker)).token;
      if (now >= entry.renewAt)
        ignore(renew(entry, audience, identity.svid.id), 'the token at hand is still valid');
      return usable.token;
    },
    forget(task) {
      return [...held].flatMap(([key, { token }]) => {
        const [, owner, audience = ''] = key.split(' ', 3);
        if (owner !== task) return [];
        held.delete(key);
        if (token === undefined || token.expiresAt <= clock.now()) return [];
        return [
          `a JWT-SVID for ${audience}, valid until ${new Date(token.expiresAt).toISOString()}`,
        ];
      });
    },
    get size() {
      return held.size;
    },
  };
}

async function fetchToken(
  issuer: TokenIssuer,
  { audience, as }: { readonly audience: string; readonly as: SpiffeId },
  clock: Clock,
  signal: AbortSignal,
): Promise<IssuedToken> {
  using linked = link(signal);
  const hint = 'is the Workload API there, and does the registration entry allow JWT-SVIDs?';
  const cancel = clock.after(FETCH_TIMEOUT, () =>
    linked.abort(
      new Fault('timeout', `the Workload API did not answer within ${FETCH_TIMEOUT} ms`),
    ),
  );
  try {
    return await issuer.fetchJwtSvid(audience, linked.signal, as);
  } catch (failure) {
    const { message } = Fault.from(failure, 'credential-unavailable');
    throw new Fault(
      'credential-unavailable',
      `no JWT-SVID for audience ${JSON.stringify(audience)}: ${message}`,
      {
        hint,
        cause: failure,
      },
    );
  } finally {
    cancel();
  }
}

/** One asker that goes away leaves the fetch to the others. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(reasonOf(signal));
  return new Promise((resolve, reject) => {
    const off = onAbort(signal, reject);
    promise.then(resolve, reject).finally(off);
  });
}
