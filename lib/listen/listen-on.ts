/** Listening on a TCP port of ours, and what a port that is listened on covers. */
import { isIP, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Fault } from '../base/fault.ts';
import { formatAuthority } from '../net/authority.ts';
import type { ListenAddress } from '../policy/model/destination.ts';

export interface TcpPlace extends ListenAddress {
  /** `forward`, or the name of the destination. */
  readonly name: string;
  readonly forward: boolean;
}

/** On `fd` where the process was started with the socket. Rejects with a Fault `listen`. */
export function listenOn(
  server: Server,
  { name, host, port, forward }: TcpPlace,
  fd: number | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const code = 'code' in error ? String(error.code) : error.message;
      const whose = forward ? 'the forward proxy' : `destination ${name}`;
      const hint =
        code === 'EADDRINUSE'
          ? 'another program has that port: choose another'
          : 'look at the address and at permissions';
      reject(
        new Fault('listen', `${whose} cannot listen on ${formatAuthority(host, port)} (${code})`, {
          hint,
          cause: error,
        }),
      );
    });
    server.listen({ ...(fd === undefined ? { host, port } : { fd }), backlog: 1024 }, resolve);
  });
}

/**
 * True if a listener on `host` answers at `address`: the same address, or any of this machine's.
 */
export function covers(host: string, address: string): boolean {
  if (host === address) return true;
  const loopback = address === '::1' || address.startsWith('127.');
  if (host === 'localhost') return loopback;
  if (isIP(host) === 0 || (host !== '0.0.0.0' && host !== '::')) return false;
  return (
    loopback ||
    Object.values(networkInterfaces()).some((all) => all?.some((own) => own.address === address))
  );
}
