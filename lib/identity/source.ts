/**
 * Our identity, kept up to date from the Workload API for as long as the process lives. The stream
 * of X.509-SVIDs alone decides who we are and whose X.509 authorities are trusted; the stream of
 * JWT bundles alone supplies JWT authorities, and no trouble of the one touches the other.
 */
import { cell } from '../base/cell.ts';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { link, onAbort, reasonOf } from '../base/signal.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Identity, IdentityState, JwtBundle } from '../spiffe/identity.ts';
import { readIssuedJwtSvid } from '../spiffe/jwt-svid.ts';
import type { JwtSvid } from '../spiffe/jwt-svid.ts';
import type { TrustDomain } from '../spiffe/trust-domain.ts';
import { parseEndpoint } from './address.ts';
import { workloadApi } from './client.ts';
import type { WorkloadApi } from './client.ts';
import { identityCounts } from './counts.ts';
import type { Counter, IdentityCounts } from './counts.ts';
import { notes } from './notes.ts';
import type { IdentityNote, Notes } from './notes.ts';
import { followX509 } from './follow.ts';
import { readJwtBundles } from './parse.ts';
import type { Select } from './select.ts';
import { usableIdentity } from './state.ts';
import { watch } from './watch.ts';

interface IssuedJwtSvid extends JwtSvid {
  /** The bearer token: a secret. */
  readonly token: string;
}

export interface IdentitySource extends AsyncDisposable {
  readonly states: Cell<IdentityState>;
  /**
   * The identity to use now. Throws a Fault `no-identity` or `identity-expired`, judged by the wall
   * clock at this moment.
   */
  current(): Identity;
  /**
   * The first identity that may be used; rejects with the signal's reason, or with `shutting-down`.
   */
  firstUpdate(signal: AbortSignal): Promise<Identity>;
  /**
   * A fresh JWT-SVID of the identity that we act as, for one audience. Throws a Fault also when
   * there is no such identity.
   */
  fetchJwtSvid(audience: string, signal: AbortSignal, as?: SpiffeId): Promise<IssuedJwtSvid>;
  /** Settles with the reason when the Workload API is not asked any more, as that cannot help. */
  readonly final: Promise<Fault>;
  /**
   * JWT authorities by trust domain, which are asked for from the first call on; empty until they
   * came, and after they were withdrawn.
   */
  jwtBundles(): ReadonlyMap<TrustDomain, JwtBundle>;
  metrics(): IdentityCounts;
}

export interface IdentityOptions {
  /** `unix:///path` or `tcp://<IP>:<port>`. */
  readonly endpoint: string;
  readonly select: Select;
  readonly clock: Clock;
  readonly onNote: (note: IdentityNote) => void;
  /** Uniform in [0, 1); for the jitter of the back-off. */
  readonly random?: () => number;
}

interface Parts extends IdentityOptions {
  readonly api: WorkloadApi;
  readonly states: Cell<IdentityState>;
  readonly counter: Counter;
  readonly signal: AbortSignal;
}

type JwtBundles = ReadonlyMap<TrustDomain, JwtBundle>;

/** After a good message: all is well, or which trust domains are not. */
function settle(dropped: readonly Fault[], tell: Notes): void {
  if (dropped.length === 0) tell.fine();
  else tell.trouble(new Fault('bad-bundle', dropped.map((fault) => fault.describe()).join('; ')));
}

/** Hands over the newest JWT bundles, an empty map when they are withdrawn. */
async function followJwt(
  parts: Parts,
  tell: Notes,
  supply: (bundles: JwtBundles) => void,
): Promise<void> {
  const { api, counter } = parts;
  const read = async (
    message: Parameters<typeof readJwtBundles>[0],
  ): Promise<ReturnType<typeof readJwtBundles>> => readJwtBundles(message);
  for await (const event of watch({
    ...parts,
    what: 'JWT bundles',
    open: (one) => api.jwtBundles(one),
    read,
  })) {
    if (event.kind === 'update') {
      supply(event.value.bundles);
      counter.dropped(event.value.dropped.length);
      settle(event.value.dropped, tell);
      continue;
    }
    if (event.kind === 'discarded') counter.discarded();
    else counter.lost(event.fault);
    if (event.kind === 'lost' && event.withdrawn) supply(new Map());
    tell.trouble(event.fault);
  }
}

/** Whom a JWT-SVID is asked for: one that we are. */
function ownId({ svid, svids }: Identity, as: SpiffeId | undefined): SpiffeId {
  if (as === undefined || svids.some(({ id }) => id === as)) return as ?? svid.id;
  throw new Fault('no-identity', `no X.509-SVID was issued for ${as}`);
}

async function issuedJwtSvid(
  parts: Parts,
  id: SpiffeId,
  audience: string,
  signal: AbortSignal,
): Promise<IssuedJwtSvid> {
  const { svids } = await parts.api.fetchJwtSvid({ audience: [audience], spiffeId: id }, signal);
  const found = svids.find(({ spiffeId }) => spiffeId === id);
  if (found === undefined || found.svid === '') {
    throw new Fault('workload-api-message', `the Workload API issued no JWT-SVID for ${id}`);
  }
  const read = readIssuedJwtSvid(found.svid, { audience, now: parts.clock.now() });
  if (read.id !== id)
    throw new Fault('bad-jwt-svid', `the JWT-SVID that was issued as ${id} is one of ${read.id}`);
  return Object.freeze({ ...read, token: found.svid });
}

function firstUpdate({ states, clock }: Parts, signal: AbortSignal): Promise<Identity> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(reasonOf(signal));
      return;
    }
    const following = new AbortController();
    const settled = (act: () => void): void => {
      off();
      following.abort();
      act();
    };
    const off = onAbort(signal, (reason) => settled(() => reject(reason)));
    const look = (state: IdentityState | undefined): void => {
      if (state?.kind !== 'current' || clock.now() >= state.identity.svid.notAfter) return;
      settled(() => resolve(state.identity));
    };
    states.follow(look, following.signal);
    look(states.get());
  });
}

/**
 * Starts asking at once and returns at once; nothing is thrown later.
 * @throws Fault `workload-api-address`
 */
export function startIdentity(options: IdentityOptions): IdentitySource {
  const api = workloadApi(parseEndpoint(options.endpoint));
  const { clock, onNote } = options;
  const stop = new AbortController();
  const states = cell<IdentityState>({ kind: 'waiting', since: clock.now(), problem: undefined });
  const { counter, read } = identityCounts();
  const parts: Parts = { ...options, api, states, counter, signal: stop.signal };
  let jwt: JwtBundles = new Map();
  const told = (stream: string, follow: (tell: Notes) => Promise<void>): Promise<void> => {
    const tell = notes(stream, onNote);
    return follow(tell).catch((failure: unknown) => tell.trouble(Fault.from(failure, 'internal')));
  };
  const final = Promise.withResolvers<Fault>();
  const onFinal = (fault: Fault): void => {
    counter.final();
    final.resolve(fault);
  };
  const running = [told('X.509-SVIDs', (tell) => followX509({ ...parts, onFinal }, tell))];
  let askedJwt = false;
  const current = (): Identity =>
    usableIdentity(
      states.get() ?? { kind: 'waiting', since: clock.now(), problem: undefined },
      clock.now(),
    );
  return Object.freeze({
    states,
    current,
    async firstUpdate(signal: AbortSignal) {
      using linked = link(signal, stop.signal);
      return await firstUpdate(parts, linked.signal);
    },
    async fetchJwtSvid(audience: string, signal: AbortSignal, as?: SpiffeId) {
      using linked = link(signal, stop.signal);
      return await issuedJwtSvid(parts, ownId(current(), as), audience, linked.signal);
    },
    final: final.promise,
    jwtBundles() {
      if (!askedJwt)
        running.push(
          told('JWT bundles', (tell) => followJwt(parts, tell, (bundles) => (jwt = bundles))),
        );
      askedJwt = true;
      return jwt;
    },
    metrics: read,
    async [Symbol.asyncDispose]() {
      stop.abort(new Fault('shutting-down', 'the sidecar is shutting down'));
      await Promise.all(running);
    },
  });
}
