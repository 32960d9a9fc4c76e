/**
 * One exchange as it comes in: a request, a CONNECT, a raw connection. Each step gets the value
 * that the step before it returned; an inbound exchange keeps nothing of a request in between.
 */
import type { Fault } from '../base/fault.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { InboundConnection } from './agent-connection.ts';
import type { Permit } from './authorize.ts';
import type { ExchangeContext } from './context.ts';
import type { Described } from './described.ts';
import type { Exchange } from './exchange.ts';

/** Content that is part of what is decided. */
export interface Unread {
  readonly destination: Destination;
  /** Bytes that are read of it. */
  readonly limit: number;
}

export interface InboundExchange<D extends Described> {
  readonly exchange: Exchange;
  readonly connection: InboundConnection;
  /** Proxy-Authorization, as it came. */
  credentials(): string | undefined;
  /**
   * Reads what came, strictly, under this policy. Returns a promise only where a body must be read
   * before anything can be decided. @throws Fault for what is malformed or ambiguous
   */
  describe(time: number, policy: Policy): D | Promise<D>;
  /**
   * Asks the upstream what must be known of it before the request can be judged; undefined where
   * nothing has to be asked.
   */
  learn?(described: D, context: ExchangeContext): Promise<D> | undefined;
  /** Reads the content that the decision needs. */
  readContent?(described: D, unread: Unread): Promise<D>;
  /** Reaches the upstream and relays, until both sides are done. */
  forward(described: D, permit: Permit): Promise<void>;
  /**
   * Answers with the fault, or cuts the connection where an answer has begun. Never rejects.
   * `described`: undefined where the request could not be described
   */
  reject(fault: Fault, described: D | undefined): Promise<void>;
}
