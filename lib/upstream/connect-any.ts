/** Connecting to one of the judged addresses of an answer. */
import { type Socket, connect, isIPv6 } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import { formatAuthority } from '../net/authority.ts';

interface Attempt {
  readonly addresses: readonly string[];
  readonly port: number;
  /** Milliseconds for all of them together. */
  readonly patience: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Tries the judged addresses in turn; all but the last share the time, so that one silent address
 * does not use it up.
 */
export async function connectAny({
  addresses,
  port,
  patience,
  clock,
  signal,
}: Attempt): Promise<Socket> {
  let last = new Fault('upstream-refused', 'there is no address to dial');
  for (const [index, address] of addresses.entries()) {
    const limit = index === addresses.length - 1 ? undefined : patience / addresses.length;
    try {
      return await connectOne(address, port, { clock, signal, limit });
    } catch (failure) {
      last = Fault.from(failure, 'upstream-refused');
      if (signal.aborted) throw last;
    }
  }
  throw last;
}

interface Patience {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limit: number | undefined;
}

function connectOne(
  address: string,
  port: number,
  { clock, signal, limit }: Patience,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const where = formatAuthority(address, port, undefined);
    // The address is a literal: nothing is resolved here. Half-open, because one direction of a
    // tunnel may end before the other.
    const socket = connect({
      host: address,
      port,
      family: isIPv6(address) ? 6 : 4,
      noDelay: true,
      keepAlive: true,
      allowHalfOpen: true,
    });
    const finish = (fault: Fault | undefined): void => {
      off();
      cancel?.();
      socket.off('connect', connected);
      socket.off('error', failed);
      if (fault === undefined) return resolve(socket);
      // Errors that come after the verdict have nobody to tell.
      socket.on('error', () => {});
      socket.destroy();
      reject(fault);
    };
    const connected = (): void =>
      finish(
        addressOf(socket) === address || sameAddress(socket, address)
          ? undefined
          : elsewhere(socket, where),
      );
    const failed = (error: Error): void => finish(refused(error, where));
    const off = onAbort(signal, finish);
    const cancel =
      limit === undefined ? undefined : clock.after(limit, () => finish(silent(where, limit)));
    socket.once('connect', connected);
    socket.once('error', failed);
  });
}

/** The remote address; IPv4 in IPv6 form is the same place (a dual-stack socket). */
export function addressOf(socket: Socket): string {
  return (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}

/** IPv6 has several spellings of one address; the engine's own check compares the bytes. */
function sameAddress(socket: Socket, address: string): boolean {
  return (
    isIPv6(address) &&
    URL.parse(`http://[${addressOf(socket)}]`)?.host === URL.parse(`http://[${address}]`)?.host
  );
}

function elsewhere(socket: Socket, where: string): Fault {
  return new Fault('address-refused', `dialled ${where} but reached ${addressOf(socket)}`);
}

function silent(where: string, limit: number): Fault {
  return new Fault('upstream-timeout', `${where} did not answer within ${Math.round(limit)} ms`);
}

/** The upstream has no part in these: descriptors, local ports or memory have run out here. */
const OUR_LIMITS: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'EADDRNOTAVAIL',
  'ENOBUFS',
  'ENOMEM',
]);

function refused(error: Error, where: string): Fault {
  const code = 'code' in error ? String(error.code) : error.message;
  if (code === 'ETIMEDOUT')
    return new Fault('upstream-timeout', `${where} did not answer`, { cause: error });
  if (OUR_LIMITS.has(code)) {
    const raise =
      'raise the limit of open files (ulimit -n), or lower spec.listeners.maxConnections';
    return new Fault('too-many', `this sidecar can open no connection more (${code})`, {
      hint: raise,
      cause: error,
    });
  }
  const hint = 'look whether the upstream runs, and at upstream.address of the destination';
  return new Fault('upstream-refused', `${where} cannot be reached (${code})`, {
    hint,
    cause: error,
  });
}
