/** The end of the TLS inside a CONNECT tunnel, as the tunnel sees it. */
import type { Fault } from '../base/fault.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Caller } from '../exchange/shares.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import type { Authority } from '../net/authority.ts';
import type { Destination } from '../policy/protocols/index.ts';

export interface RefusedTunnel {
  readonly exchange: Exchange;
  readonly fault: Fault;
  readonly host: string;
  /** Answers the CONNECT with 200 and gives its socket. */
  readonly accept: () => HandedOver;
}

export interface Tunnel {
  readonly exchange: Exchange;
  readonly destination: Destination;
  readonly caller: Caller;
  /** Host and port of the CONNECT, as decided. */
  readonly authority: Authority;
  /** Aborts when idle connections should end. */
  readonly closing: AbortSignal;
  /** Answers the CONNECT and gives its socket. */
  readonly accept: () => HandedOver;
  /** From here on the exchange need not be told that the agent's socket closed. */
  readonly settled: () => void;
}

export interface Interceptor {
  /**
   * Serves the tunnel until it is over. Throws a Fault, before `accept` where the host cannot be
   * stood in for.
   */
  serve(tunnel: Tunnel): Promise<void>;
  /**
   * Tells a refusal inside the tunnel; false, with nothing done, where it is to be told at the
   * CONNECT.
   */
  refuse(tunnel: RefusedTunnel): Promise<boolean>;
}
