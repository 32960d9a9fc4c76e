/**
 * Our identity, kept up to date from the Workload API for as long as the process lives. The stream of X.509-SVIDs alone decides who we are and whose X.509 authorities
 * are trusted; the stream of JWT bundles alone supplies JWT authorities, and no trouble of the one touches the other.
 */
import { cell } from '../base/cell.ts';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { link, onAbort, reasonOf } from '../base/signal.ts';
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
import { readJwtBundles, readX509Svids } from './parse.ts';
import type { X509State } from './parse.ts';
import { next, usableIdentity } from './state.ts';
import type { IdentityEvent, Select } from './state.ts';
import { watch } from './watch.ts';

export interface IssuedJwtSvid extends JwtSvid {
  /** The bearer token: a secret. */
  readonly token: string;
}

export interface IdentitySource extends AsyncDisposable {
  readonly states: Cell<IdentityState>;
  /** The identity to use now. Throws a Fault `no-identity` or `identity-expired`, judged by the wall clock at this moment. */
  current(): Identity;
  /** The first identity that may be used; rejects with the signal's reason, or with `shutting-down`. */
  firstUpdate(signal: AbortSignal): Promise<Identity>;
  /** A fresh JWT-SVID of the identity that we act as, for one audience. Throws a Fault also when there is no such identity. */
  fetchJwtSvid(audience: string, signal: AbortSignal): Promise<IssuedJwtSvid>;
  /** JWT authorities by trust domain; empty until they came, and after they were withdrawn. */
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

function announce({ states, select }: Parts, before: IdentityState | undefined, tell: Notes): void {
  const after = states.get();
  if (after?.kind !== 'current') return;
  const previous = before?.kind === 'current' ? before.identity : undefined;
  const { generation, svid } = after.identity;
  if (generation === previous?.generation) return;
  const until = new Date(svid.notAfter).toISOString();
  tell.info(`generation ${generation}: ${svid.id}, serial ${svid.serial}, valid until ${until}`);
  if (previous !== undefined && previous.svid.id !== svid.id && select.spiffeId === undefined) {
    tell.warn(`we are now ${svid.id} and no longer ${previous.svid.id}: identity.select.spiffeId holds on to one`);
  }
}

/** The states after each event of the stream of X.509-SVIDs. */
async function followX509(parts: Parts, tell: Notes): Promise<void> {
  const { api, states, counter, clock, select, signal } = parts;
  let generation = 0;
  const apply = (event: IdentityEvent): void => {
    const before = states.get() ?? { kind: 'waiting', since: clock.now(), problem: undefined };
    const after = next(before, event, { select, now: clock.now(), generation });
    if (after.kind === 'current' && after.identity.generation > generation) {
      generation = after.identity.generation;
      counter.generation();
    }
    if (!same(before, after)) states.set(after);
    announce(parts, before, tell);
  };
  const read = (message: Parameters<typeof readX509Svids>[0]): Promise<X509State> => readX509Svids(message, clock);
  for await (const event of watch({ ...parts, what: 'X.509-SVIDs', open: (one) => api.x509Svids(one), read })) {
    if (signal.aborted) return;
    switch (event.kind) {
      case 'update':
        counter.update(event.value, clock.now());
        apply({ kind: 'update', received: event.value });
        settleX509(states, event.value.dropped, tell);
        break;
      case 'discarded':
        counter.discarded();
        tell.trouble(event.fault);
        apply({ kind: 'trouble', fault: event.fault });
        break;
      case 'lost':
        counter.lost(event.fault);
        tell.trouble(event.fault);
        if (event.final) tell.warn('asking again cannot help, so it is not done');
        apply({ kind: event.withdrawn ? 'denied' : 'trouble', fault: event.fault });
        break;
    }
  }
}

/** After a good message: all is well, or which trust domains are not. */
function settle(dropped: readonly Fault[], tell: Notes): void {
  if (dropped.length === 0) tell.fine();
  else tell.trouble(new Fault('bad-bundle', dropped.map((fault) => fault.describe()).join('; ')));
}

/** An identity that was not issued to us as configured is trouble too. */
function settleX509(states: Cell<IdentityState>, dropped: readonly Fault[], tell: Notes): void {
  const state = states.get();
  if (state?.kind === 'withdrawn') tell.trouble(new Fault('no-identity', state.problem));
  else settle(dropped, tell);
}

/** Followers are told of what is new to them, not of each message. */
function same(a: IdentityState, b: IdentityState): boolean {
  if (a.kind !== b.kind || a.problem !== b.problem) return false;
  return a.kind !== 'current' || b.kind !== 'current' || a.identity === b.identity;
}

type JwtBundles = ReadonlyMap<TrustDomain, JwtBundle>;

/** Hands over the newest JWT bundles, an empty map when they are withdrawn. */
async function followJwt(parts: Parts, tell: Notes, supply: (bundles: JwtBundles) => void): Promise<void> {
  const { api, counter } = parts;
  const read = async (message: Parameters<typeof readJwtBundles>[0]): Promise<ReturnType<typeof readJwtBundles>> =>
    readJwtBundles(message);
  for await (const event of watch({ ...parts, what: 'JWT bundles', open: (one) => api.jwtBundles(one), read })) {
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

async function issuedJwtSvid(
  parts: Parts,
  identity: Identity,
  audience: string,
  signal: AbortSignal,
): Promise<IssuedJwtSvid> {
  const { id } = identity.svid;
  const { svids } = await parts.api.fetchJwtSvid({ audience: [audience], spiffeId: id }, signal);
  const found = svids.find(({ spiffeId }) => spiffeId === id);
  if (found === undefined || found.svid === '') {
    throw new Fault('workload-api-message', `the Workload API issued no JWT-SVID for ${id}`);
  }
  const read = readIssuedJwtSvid(found.svid, { audience, now: parts.clock.now() });
  if (read.id !== id) throw new Fault('bad-jwt-svid', `the JWT-SVID that was issued as ${id} is one of ${read.id}`);
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
  const running = [
    told('X.509-SVIDs', (tell) => followX509(parts, tell)),
    told('JWT bundles', (tell) => followJwt(parts, tell, (bundles) => (jwt = bundles))),
  ];
  const current = (): Identity =>
    usableIdentity(states.get() ?? { kind: 'waiting', since: clock.now(), problem: undefined }, clock.now());
  return Object.freeze({
    states,
    current,
    async firstUpdate(signal: AbortSignal) {
      using linked = link(signal, stop.signal);
      return await firstUpdate(parts, linked.signal);
    },
    async fetchJwtSvid(audience: string, signal: AbortSignal) {
      using linked = link(signal, stop.signal);
      return await issuedJwtSvid(parts, current(), audience, linked.signal);
    },
    jwtBundles: () => jwt,
    metrics: read,
    async [Symbol.asyncDispose]() {
      stop.abort(new Fault('shutting-down', 'the sidecar is shutting down'));
      await Promise.all(running);
    },
  });
}
