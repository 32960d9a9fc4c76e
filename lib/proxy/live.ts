/**
 * The live set: every exchange, tunnel and raw connection from before it is decided until it has ended. Whoever takes away what an
 * exchange lives on (policy, identity, shutdown, time) finds it here, so that no revocation can fall between a decision and its use.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Destination } from '../policy/model.ts';
import type { Exchange, Places } from './exchange.ts';

/** How often deadlines are looked at, in milliseconds: how late a timeout may be noticed. */
export const TICK = 100;

export interface Live {
  readonly size: number;
  enter(exchange: Exchange): void;
  leave(exchange: Exchange): void;
  /** Takes one of the destination's `limits.concurrent` places until the exchange leaves; Fault `too-many` when there is none. */
  occupy(exchange: Exchange, destination: Destination): void;
  /** Those that are live now. */
  all(): readonly Exchange[];
  /** Settles when the set is empty. */
  empty(): Promise<void>;
}

export function liveSet(clock: Clock): Live {
  // Not a Set: one that comes and goes with each request leaves old tables behind, whose entries the young generation's collector has to keep.
  const members: Exchange[] = [];
  /** Taken places by the name of the destination; each exchange knows the one it took. */
  const places = new Map<string, Places>();
  let waiting: (() => void)[] = [];
  let ticking = false;

  const tick = (): void => {
    const now = clock.monotonic();
    for (const exchange of members.slice()) {
      const fault = exchange.overdue(now);
      if (fault !== undefined) exchange.abort(fault);
    }
    ticking = members.length > 0;
    if (ticking) clock.after(TICK, tick);
  };

  const vacate = (exchange: Exchange): void => {
    const { place } = exchange;
    if (place === undefined) return;
    exchange.place = undefined;
    place.taken -= 1;
    if (place.taken === 0) places.delete(place.name);
  };

  return {
    get size() {
      return members.length;
    },
    enter(exchange) {
      exchange.seat = members.push(exchange) - 1;
      if (ticking) return;
      ticking = true;
      clock.after(TICK, tick);
    },
    leave(exchange) {
      unseat(members, exchange);
      vacate(exchange);
      if (members.length > 0 || waiting.length === 0) return;
      const told = waiting;
      waiting = [];
      for (const tell of told) tell();
    },
    occupy(exchange, { name, limits }) {
      let place = places.get(name);
      if (place !== undefined && place.taken >= limits.concurrent) {
        const hint = 'try again shortly, or raise limits.concurrent of the destination';
        throw new Fault('too-many', `destination ${name} already has ${place.taken} exchanges at one time`, { hint });
      }
      if (place === undefined) places.set(name, (place = { name, taken: 0 }));
      place.taken += 1;
      exchange.place = place;
    },
    all: () => members.slice(),
    empty: () => (members.length === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
}

/** The last one takes its seat. */
function unseat(members: Exchange[], exchange: Exchange): void {
  const { seat } = exchange;
  if (seat === undefined) return;
  exchange.seat = undefined;
  const last = members.pop();
  if (last === undefined || last === exchange) return;
  members[seat] = last;
  last.seat = seat;
}
