/**
 * Where an allowed exchange goes, compiled once for each destination and name: what is resolved,
 * what the addresses may be, and the digest that pools are keyed by. A pooled connection is used
 * only where everything it depends on is equal, so a reload empties only what changed.
 */
import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import type { Policy } from '../policy/decision/policy.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Identity } from '../spiffe/identity.ts';
import { PoolKey } from './pool-key.ts';
import { showsIdentity } from './shown-identity.ts';

export interface Route {
  readonly destination: Destination;
  /** Host that the agent asked for: the name that certificates and messages go by. */
  readonly matched: string;
  /** Canonical name or IP address to reach. */
  readonly host: string;
  readonly port: number;
  /** The operator wrote `host`; the agent did not. */
  readonly written: boolean;
  /** `host` is an address. */
  readonly literal: boolean;
  readonly addresses: AddressRule;
  /**
   * Hex digest of the settings the connection depends on; equal settings, equal digest, whatever
   * the policy generation.
   */
  readonly settings: string;
  /** The key of the pool whose connections may carry this for a task. */
  readonly key: (identity: Identity | undefined, task?: string) => PoolKey;
}

/** Input of `judgeAddress`. */
interface AddressRule {
  readonly loopback: boolean;
  readonly private: boolean;
  readonly cidrs: readonly string[];
}

export interface Routes {
  readonly to: (destination: Destination, facts: Facts) => Route;
  /**
   * True if a pool's key is still of use under this policy and this generation of our identities
   * (0: there is none).
   */
  readonly keep: (policy: Policy, generation: number) => (key: PoolKey) => boolean;
}

/** Names under one wildcard are the agent's to choose: so many are remembered. */
const MAX_NAMES = 1024;

export function routes(): Routes {
  const compiled = new WeakMap<Destination, Map<string, Route>>();
  return {
    to(destination, facts) {
      let byName = compiled.get(destination);
      if (byName === undefined) compiled.set(destination, (byName = new Map()));
      const key = `${facts.host} ${facts.port}`;
      const known = byName.get(key);
      if (known !== undefined) return known;
      if (byName.size >= MAX_NAMES) byName.clear();
      const route = compile(destination, facts.host, facts.port);
      byName.set(key, route);
      return route;
    },
    keep(policy, current) {
      // By name, and when a key is asked about: few of the destinations of a large policy have
      // connections.
      return (key) => {
        const destination = policy.byName.get(key.destination);
        return (
          destination !== undefined &&
          key.settings === settingsOf(destination) &&
          (key.generation === undefined || key.generation === current)
        );
      };
    },
  };
}

function compile(destination: Destination, matched: string, port: number): Route {
  const { upstream, tls, cidrs, hosts } = destination;
  const host = upstream?.host ?? matched;
  const literal = isIP(host) !== 0;
  const written =
    upstream !== undefined ||
    hosts.some((pattern) => pattern.kind !== 'wildcard' && pattern.host === matched);
  const addresses = {
    loopback: literal && written,
    // A private address is as good as the proof of who answers there.
    private: upstream !== undefined && tls.mode === 'mtls',
    cidrs,
  };
  // A name in `hosts` is matched, not looked up, by the operator: only `upstream` may use the
  // search list.
  const settings = settingsOf(destination);
  const reached = upstream?.port ?? port;
  const target = { destination, settings, matched, reached: `${host}:${reached}` };
  const keyOf = (identity: Identity | undefined): PoolKey => new PoolKey(target, identity);
  const anybody = showsIdentity(destination) ? undefined : keyOf(undefined);
  // One for each identity that is in use: agents may have their own.
  const keys = new WeakMap<Identity, PoolKey>();
  const key = (identity: Identity | undefined, task?: string): PoolKey => {
    if (destination.credential !== undefined) return new PoolKey(target, identity, task);
    if (anybody !== undefined || identity === undefined) return anybody ?? keyOf(undefined);
    let known = keys.get(identity);
    if (known === undefined) keys.set(identity, (known = keyOf(identity)));
    return known;
  };
  return Object.freeze({
    destination,
    matched,
    host,
    port: reached,
    written: upstream !== undefined,
    literal,
    addresses,
    settings,
    key,
  });
}

function settingsOf(destination: Destination): string {
  const { upstream, cidrs, tls } = destination;
  const settings = [
    destination.name,
    upstream ?? null,
    cidrs,
    tls.mode,
    tls.peers.map(({ text }) => text),
    tls.serverName ?? null,
    tls.roots ?? null,
    tls.insecure,
    destination.http2 ?? false,
    destination.via ?? null,
  ];
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 32);
}
