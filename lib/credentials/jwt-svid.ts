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
import type { Fields } from '../http/message.ts';
import type { CredentialPolicy } from '../policy/model/destination.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import type { IdentityState } from '../spiffe/identity.ts';
import { withAuthorization } from './authorization.ts';
import type { Credential, CredentialProvider } from './provider.ts';

export interface IssuedToken {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** The source of tokens: lib/identity/source.ts. */
interface TokenIssuer {
  readonly states: Cell<IdentityState>;
  fetchJwtSvid(audience: string, signal: AbortSignal, as: SpiffeId): Promise<IssuedToken>;
}

export interface JwtSvids extends CredentialProvider<JwtSvidPolicy> {
  /** Tokens held now. */
  readonly size: number;
}

type JwtSvidPolicy = Extract<CredentialPolicy, { kind: 'jwt-svid' }>;

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

/** The identity and the task that a token speaks for, and the audience. */
interface TokenSubject {
  readonly spiffeId: SpiffeId;
  readonly task: string | undefined;
  readonly audience: string;
}

interface Entry {
  readonly subject: TokenSubject;
  token: IssuedToken | undefined;
  /** Time to renew. */
  renewAt: number;
  fetching: Promise<IssuedToken> | undefined;
}

export function jwtSvids({ issuer, clock, signal }: JwtSvidsOptions): JwtSvids {
  const tokens = new TokenTable();
  // What speaks for an identity that is gone must not be found again.
  issuer.states.follow((state) => {
    const ids = state.kind === 'current' ? state.identity.svids.map(({ id }) => id) : [];
    tokens.keep(({ subject }) => ids.includes(subject.spiffeId));
  }, signal);

  const renew = (entry: Entry): Promise<IssuedToken> =>
    (entry.fetching ??= fetchToken(issuer, entry.subject, clock, signal)
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
    async obtain({ policy: { audience }, identity }, task, asker) {
      const entry = tokens.of({ spiffeId: identity.svid.id, task, audience });
      const now = clock.now();
      const usable =
        entry.token !== undefined && now < entry.token.expiresAt - MARGIN ? entry.token : undefined;
      if (usable === undefined) return bearer(await orAborted(renew(entry), asker));
      if (now >= entry.renewAt) ignore(renew(entry), 'the token at hand is still valid');
      return bearer(usable);
    },
    forget(task) {
      const now = clock.now();
      return tokens
        .keep(({ subject }) => subject.task !== task)
        .flatMap(({ token, subject }) => (token === undefined ? [] : left(token, subject, now)));
    },
    get size() {
      return tokens.size;
    },
  };
}

/** Entries in the order of their use, of which the one used longest ago goes first. */
class TokenTable {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  of(subject: TokenSubject): Entry {
    const { spiffeId, task, audience } = subject;
    const key = JSON.stringify([spiffeId, task, audience]);
    const known = this.#entries.get(key);
    const entry = known ?? { subject, token: undefined, renewAt: 0, fetching: undefined };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > MAX_TOKENS && oldest.done !== true) this.#entries.delete(oldest.value);
    return entry;
  }

  /** Forgets the others, and returns them. */
  keep(keeps: (entry: Entry) => boolean): readonly Entry[] {
    const forgotten: Entry[] = [];
    for (const [key, entry] of this.#entries) {
      if (keeps(entry)) continue;
      this.#entries.delete(key);
      forgotten.push(entry);
    }
    return forgotten;
  }
}

/** RFC 6750 section 2.1. */
function bearer({ token, expiresAt }: IssuedToken): Credential {
  const apply = (fields: Fields): string[] => withAuthorization(fields, `Bearer ${token}`);
  return { kind: 'jwt-svid', expiresAt, apply };
}

/** A JWT-SVID cannot be revoked (JWT-SVID section 7.2). */
function left(
  { expiresAt }: IssuedToken,
  { audience }: TokenSubject,
  now: number,
): readonly string[] {
  if (expiresAt <= now) return [];
  return [`a JWT-SVID for ${audience}, valid until ${new Date(expiresAt).toISOString()}`];
}

async function fetchToken(
  issuer: TokenIssuer,
  { audience, spiffeId }: TokenSubject,
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
    return await issuer.fetchJwtSvid(audience, linked.signal, spiffeId);
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
