/**
 * Names to addresses, by DNS questions on sockets of our own: no thread is shared with anybody, a
 * question that is not answered keeps nobody waiting but who asked it, and can be given up.
 * - A name that the agent supplied is asked for as it stands: no search list can turn it into
 *   another name, and the hosts file, which belongs to the operator's names, is not read for it. It
 *   is only asked for after it was allowed.
 * - A name that the operator wrote is looked for in the hosts file, then asked for by the search
 *   list and `ndots` of resolv.conf.
 * - A and AAAA are asked for at once; what one of them gives is enough where the other fails or is
 *   late.
 */
import { promises as dns } from 'node:dns';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import { candidates, parseHosts, parseResolvConf, watched, type ResolvConf } from './name-files.ts';

export interface Resolver {
  /** All addresses of the name. Throws a Fault `upstream-unresolved`, or the signal's reason. */
  readonly resolve: (name: string, options: ResolveOptions) => Promise<readonly string[]>;
  /** Gives up what is under way: nothing keeps the process from ending. */
  close?(): void;
}

interface ResolveOptions {
  /** Without the search list: the name is the agent's. */
  readonly absolute: boolean;
  readonly signal: AbortSignal;
  /** The destination for which it is: each has its share of what is under way. */
  readonly of: string;
  /** Name of the agent for which it is: each has its own; undefined: nobody's. */
  readonly agent?: string | undefined;
}

/** Names that are being resolved at one time for one agent: for one destination, and for all. */
const MAX_OF_ONE = 64;
const MAX_LOOKUPS = 1024;

export interface DnsOptions {
  readonly clock: Clock;
  readonly hosts?: string;
  readonly resolvConf?: string;
  /** Of servers without a port of their own; for tests. */
  readonly port?: number;
}

export function dnsResolver({
  clock,
  hosts = '/etc/hosts',
  resolvConf = '/etc/resolv.conf',
  port = 53,
}: DnsOptions): Resolver {
  const hostsNow = watched(hosts, parseHosts);
  const confNow = watched(resolvConf, parseResolvConf);
  return sharing(async (name, absolute, signal) => {
    const local = name === 'localhost' || name.endsWith('.localhost');
    const known = absolute ? undefined : hostsNow().get(name);
    if (known !== undefined) return known;
    // RFC 6761 section 6.3: DNS is never asked for it.
    if (local) return ['127.0.0.1', '::1'];
    const conf = confNow();
    let last: unknown;
    for (const candidate of absolute ? [name] : candidates(name, conf)) {
      try {
        return await question(candidate, { conf, port, clock, signal });
      } catch (failure) {
        if (signal.aborted || !NOT_THERE.has(codeOf(failure))) throw failure;
        last ??= failure;
      }
    }
    throw last;
  });
}

/** After these the next name of the search list is asked for (the C library's order). */
const NOT_THERE: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA', 'ESERVFAIL']);

type Ask = (name: string, absolute: boolean, signal: AbortSignal) => Promise<readonly string[]>;

interface Lookup {
  readonly of: string;
  readonly agent: string | undefined;
  readonly answer: Promise<readonly string[]>;
  readonly stop: AbortController;
  waiters: number;
}

/**
 * Questions for one name at the same time are one lookup, which ends when nobody waits for it any
 * more.
 */
export function sharing(ask: Ask): Resolver {
  const underWay = new Map<string, Lookup>();
  const begin = (key: string, name: string, { absolute, of, agent }: ResolveOptions): Lookup => {
    const own = Array.from(underWay.values()).filter((lookup) => lookup.agent === agent);
    const same = own.filter((lookup) => lookup.of === of).length;
    if (same >= MAX_OF_ONE || own.length >= MAX_LOOKUPS)
      throw tooMany(same >= MAX_OF_ONE ? of : undefined);
    const stop = new AbortController();
    const answer = ask(name, absolute, stop.signal);
    const lookup = { of, agent, answer, stop, waiters: 0 };
    underWay.set(key, lookup);
    const over = (): void => void (underWay.get(key) === lookup && underWay.delete(key));
    answer.then(over, over);
    return lookup;
  };
  return Object.freeze({
    async resolve(name: string, options: ResolveOptions): Promise<readonly string[]> {
      const { absolute, signal, of } = options;
      const key = `${of} ${absolute ? '=' : '?'}${name}`;
      const lookup = underWay.get(key) ?? begin(key, name, options);
      lookup.waiters += 1;
      try {
        return await unlessAborted(lookup.answer, signal);
      } catch (failure) {
        throw failure instanceof Fault ? failure : unresolved(name, absolute, failure);
      } finally {
        lookup.waiters -= 1;
        if (lookup.waiters === 0) {
          underWay.delete(key);
          lookup.stop.abort(new Fault('aborted', 'nobody waits for it any more'));
        }
      }
    },
    close() {
      for (const { stop } of underWay.values())
        stop.abort(new Fault('shutting-down', 'the resolver is closed'));
      underWay.clear();
    },
  });
}

interface Asking {
  readonly conf: ResolvConf;
  readonly port: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Milliseconds that one kind of address is waited for when the other is there. */
const LATE_MS = 100;

/** A resolver for one question: its socket, its port and its times are nobody else's. */
async function question(
  name: string,
  { conf, port, clock, signal }: Asking,
): Promise<readonly string[]> {
  const resolver = new dns.Resolver({ timeout: conf.timeout, tries: conf.attempts });
  resolver.setServers(conf.servers.map((server) => (port === 53 ? server : `${server}:${port}`)));
  const off = onAbort(signal, () => resolver.cancel());
  try {
    return await either(resolver.resolve4(name), resolver.resolve6(name), clock);
  } finally {
    off();
    resolver.cancel();
  }
}

type Half = { readonly addresses: readonly string[] } | { readonly failure: unknown } | undefined;

/** Settles with both, or with the one that has addresses once the other has failed or is late. */
function either(
  a: Promise<string[]>,
  aaaa: Promise<string[]>,
  clock: Clock,
): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const halves: Half[] = [undefined, undefined];
    let cancel: (() => void) | undefined;
    const settle = (): void => {
      cancel?.();
      const found = inOrder(
        halves.map((half) => (half !== undefined && 'addresses' in half ? half.addresses : [])),
      );
      if (found.length > 0) resolve(found);
      else reject(failureOf(halves));
    };
    const told = (i: number, half: Half): void => {
      halves[i] = half;
      if (halves.every((half) => half !== undefined)) settle();
      else if (half !== undefined && 'addresses' in half && half.addresses.length > 0)
        cancel = clock.after(LATE_MS, settle);
    };
    for (const [i, answer] of [a, aaaa].entries()) {
      answer.then(
        (addresses) => told(i, { addresses }),
        (failure: unknown) => told(i, { failure }),
      );
    }
  });
}

/** A failure that does not say that there is nothing says more. */
function failureOf(halves: readonly Half[]): unknown {
  const failures = halves.flatMap((half) =>
    half !== undefined && 'failure' in half ? [half.failure] : [],
  );
  const nothing = new Set(['ENODATA', 'ENOTFOUND']);
  return (
    failures.find((failure) => !nothing.has(codeOf(failure))) ??
    failures.find((failure) => codeOf(failure) === 'ENOTFOUND') ??
    failures[0]
  );
}

/** IPv6 first (RFC 6724) where this machine has an address of it that leads anywhere. */
function inOrder([v4 = [], v6 = []]: readonly (readonly string[])[]): readonly string[] {
  const routed = Object.values(networkInterfaces())
    .flat()
    .some((own) => own?.family === 'IPv6' && !own.internal && !own.address.startsWith('fe80:'));
  return routed ? [...v6, ...v4] : [...v4, ...v6];
}

function tooMany(destination: string | undefined): Fault {
  const [most, whose] =
    destination === undefined ? [MAX_LOOKUPS, ''] : [MAX_OF_ONE, ` for destination ${destination}`];
  return new Fault('too-many', `${most} names are being resolved at one time${whose}`, {
    hint: 'DNS is slow or silent: look at it, and at names that nobody has',
  });
}

function codeOf(failure: unknown): string {
  return failure instanceof Error && 'code' in failure ? String(failure.code) : String(failure);
}

function unresolved(name: string, absolute: boolean, cause: unknown): Fault {
  const hint = absolute
    ? 'the name is resolved as it stands, without a search list; if it is yours, write ' +
      'upstream.address in the destination'
    : 'look at upstream.address of the destination, and at DNS';
  return new Fault('upstream-unresolved', `${name} cannot be resolved (${codeOf(cause)})`, {
    hint,
    cause,
  });
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const off = onAbort(signal, reject);
    promise.then(resolve, reject).finally(off);
  });
}
