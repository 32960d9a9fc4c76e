/**
 * The state behind the development Workload API: which identities are given out, their SVIDs, and
 * who is federated. Every change is made one after another and published as one new snapshot; SVIDs
 * are issued anew at half of their life, and at once when the CA, the lifetime or the list changes.
 */
import { type Cell, cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { TrustDomain } from '../spiffe/trust-domain.ts';
import type { DevTrustDomain } from './domain.ts';
import type {
  BundleForm,
  DevIdentity,
  DevState,
  Federated,
  IssuedIdentity,
  ResponseFaults,
} from './state.ts';

export interface IssuedSvidsOptions {
  readonly domain: DevTrustDomain;
  readonly identities: readonly DevIdentity[];
  readonly federated: readonly DevTrustDomain[];
  /** Lifetime of an X.509-SVID, ms. */
  readonly ttl: number;
  readonly clock: Clock;
  readonly onNote: (text: string) => void;
}

export interface IssuedSvids extends AsyncDisposable {
  readonly state: Cell<DevState>;
  /** New keys and certificates for every identity, now. */
  rotate(): Promise<void>;
  setTtl(ms: number): Promise<void>;
  setIdentities(identities: readonly DevIdentity[]): Promise<void>;
  federate(domain: DevTrustDomain): Promise<void>;
  unfederate(name: TrustDomain): Promise<void>;
  setFederatedBundle(name: TrustDomain, form: BundleForm): Promise<void>;
  setFaults(faults: ResponseFaults): Promise<void>;
  /** On (the default): issued anew at half life. Off: they expire. */
  setRotation(on: boolean): Promise<void>;
}

type Federation = ReadonlyMap<DevTrustDomain, BundleForm>;

interface Settings {
  readonly identities: readonly DevIdentity[];
  readonly ttl: number;
  readonly rotation: boolean;
  readonly federated: Federation;
  readonly faults: ResponseFaults;
}

/**
 * Issues to everybody once, then keeps doing so. Throws a Fault 'bad-spiffe-id' for an identity of
 * another trust domain.
 */
export async function issueSvids(options: IssuedSvidsOptions): Promise<IssuedSvids> {
  const closed = new AbortController();
  const state = cell<DevState>();
  const inTurn = turns(closed.signal);
  const issuing = issuance(options, state);
  const inBackground = (act: () => Promise<void> | void): void => {
    inTurn(act).catch((failure: unknown) =>
      options.onNote(`cannot issue: ${Fault.from(failure, 'internal').describe()}`),
    );
  };
  const reissue = async (): Promise<void> => {
    await issuing.reissue();
    issuing.schedule(() => inBackground(reissue));
  };
  const change = (
    part: Partial<Settings>,
    then: () => Promise<void> | void = issuing.publish,
  ): Promise<void> =>
    inTurn(() => {
      issuing.settings = { ...issuing.settings, ...part };
      return then();
    });
  const federated = (edit: (all: Federation) => Federation): Promise<void> =>
    inTurn(() => {
      issuing.settings = { ...issuing.settings, federated: edit(issuing.settings.federated) };
      issuing.publish();
    });
  const watch = followEach(closed.signal, () =>
    inBackground(issuing.stale() ? reissue : issuing.publish),
  );
  for (const domain of [options.domain, ...options.federated]) watch(domain);
  await inTurn(reissue);
  return {
    state,
    rotate: () => inTurn(reissue),
    setTtl: (ttl) => change({ ttl }, reissue),
    setIdentities: (identities) => change({ identities }, reissue),
    setFaults: (faults) => change({ faults }),
    setRotation: (rotation) =>
      change({ rotation }, () => issuing.schedule(() => inBackground(reissue))),
    federate(domain) {
      watch(domain);
      return federated((all) => new Map(all).set(domain, 'right'));
    },
    unfederate: (name) =>
      federated((all) => new Map([...all].filter(([one]) => one.name !== name))),
    setFederatedBundle: (name, form) =>
      federated(
        (all) => new Map([...all].map(([one, was]) => [one, one.name === name ? form : was])),
      ),
    async [Symbol.asyncDispose]() {
      await inTurn(() => {
        closed.abort(new Fault('shutting-down', 'the development Workload API is closed'));
        issuing.unschedule();
      });
    },
  };
}

/** Follows the authorities of each trust domain that it is called with, once. */
function followEach(signal: AbortSignal, onChange: () => void): (domain: DevTrustDomain) => void {
  const followed = new Set<DevTrustDomain>();
  return (domain) => {
    if (followed.has(domain)) return;
    followed.add(domain);
    domain.authorities.follow(onChange, signal);
  };
}

interface Issuance {
  settings: Settings;
  reissue(): Promise<void>;
  readonly publish: () => void;
  /** Whether another authority issues by now than the one that issued what is held. */
  stale(): boolean;
  /** Calls `act` at half life, in place of what was scheduled before. */
  schedule(act: () => void): void;
  unschedule(): void;
}

function issuance(
  { domain, clock, ...options }: IssuedSvidsOptions,
  state: Cell<DevState>,
): Issuance {
  let issued: readonly IssuedIdentity[] = [];
  let issuer = domain.current().x509[0];
  let cancel = (): void => {};
  const self: Issuance = {
    settings: {
      identities: options.identities,
      ttl: options.ttl,
      rotation: true,
      federated: new Map(options.federated.map((domain) => [domain, 'right'])),
      faults: {},
    },
    async reissue() {
      issuer = domain.current().x509[0];
      const { identities, ttl } = self.settings;
      const pending = identities.map(async (identity) => ({
        ...identity,
        svid: await domain.issue(identity.id, ttl),
      }));
      issued = Object.freeze(await Promise.all(pending));
      self.publish();
    },
    publish: () => state.set(snapshot(domain, issued, self.settings)),
    stale: () => domain.current().x509[0] !== issuer,
    schedule(act) {
      cancel();
      if (self.settings.rotation) cancel = clock.after(self.settings.ttl / 2, act);
    },
    unschedule: () => cancel(),
  };
  return self;
}

/** Runs acts one after another; none after the signal. A failed act fails its caller alone. */
function turns(closed: AbortSignal): (act: () => Promise<void> | void) => Promise<void> {
  let tail: Promise<void> = Promise.resolve();
  return (act) => {
    const turn = tail.then(() => (closed.aborted ? undefined : act()));
    tail = turn.catch(() => undefined);
    return turn;
  };
}

function snapshot(
  domain: DevTrustDomain,
  issued: readonly IssuedIdentity[],
  settings: Settings,
): DevState {
  const federated = [...settings.federated].map(([other, form]): [TrustDomain, Federated] => [
    other.name,
    { authorities: other.current(), form },
  ]);
  return Object.freeze({
    trustDomain: domain.name,
    authorities: domain.current(),
    issued,
    federated: new Map(federated),
    faults: settings.faults,
  });
}
