/**
 * The live set: every exchange, tunnel and raw connection from before it is decided until it has
 * ended. Whoever takes away what an exchange lives on (policy, identity, shutdown, time) finds it
 * here, so that no revocation can fall between a decision and its use.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Exchange } from './exchange.ts';
import type { Places } from './shares.ts';

/** How often deadlines are looked at, in milliseconds: how late a timeout may be noticed. */
const TICK = 100;

export interface Live {
  readonly size: number;
  enter(exchange: Exchange): void;
  leave(exchange: Exchange): void;
  /**
   * Takes one of the destination's `limits.concurrent` places until the exchange leaves; Fault
   * `too-many` when there is none.
   */
  occupy(exchange: Exchange, destination: Destination): void;
  /** Takes one of so many places of a rule or a tool, besides. */
  occupySecond(exchange: Exchange, name: string, most: number): void;
  /** Those that are live now. */
  all(): readonly Exchange[];
  /** Settles when the set is empty. */
  empty(): Promise<void>;
}

export function liveSet(clock: Clock): Live {
  // Not a Set: one that comes and goes with each request leaves old tables behind, whose entries
  // the young generation's collector has to keep.
  const members: Exchange[] = [];
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

  const vacate = (exchange: Exchange, place: Places | undefined): void => {
    if (place === undefined) return;
    place.taken -= 1;
    if (place.taken === 0) exchange.share.places.delete(place.name);
  };

  const take = ({ share }: Exchange, name: string, most: number, of = ''): Places => {
    const { places } = share;
    let place = places.get(name);
    if (place !== undefined && place.taken >= most) {
      const hint = 'try again shortly, or raise limits.concurrent there';
      throw new Fault('too-many', `${of}${name} already has ${place.taken} exchanges at one time`, {
        hint,
      });
    }
    if (place === undefined) places.set(name, (place = { name, taken: 0 }));
    place.taken += 1;
    return place;
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
      vacate(exchange, exchange.place);
      vacate(exchange, exchange.second);
      exchange.place = exchange.second = undefined;
      if (members.length > 0 || waiting.length === 0) return;
      const told = waiting;
      waiting = [];
      for (const tell of told) tell();
    },
    occupy(exchange, { name, limits }) {
      exchange.place = take(exchange, name, limits.concurrent, 'destination ');
    },
    occupySecond(exchange, name, most) {
      exchange.second = take(exchange, name, most);
    },
    all: () => members.slice(),
    empty: () =>
      members.length === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
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
