/** A connection of an agent's, as the requests on it see it. */
import type { RequestHead } from '../http/message.ts';
import type { Task } from '../tasks/task.ts';
import type { Proof } from '../tasks/tasks.ts';
import type { DescribedRequestHead, Reading } from './describe.ts';
import type { Exchange } from './exchange.ts';
import type { Caller } from './shares.ts';

/** The owner of an exchange, as far as its connection tells. */
export interface InboundConnection {
  /** The other end, of the CONNECT through which the connection came too. */
  readonly caller: Caller;
  /** The task that the socket, or that CONNECT, belongs to. */
  readonly task: Task | undefined;
  /** Proof by its last Proxy-Authorization; undefined where nothing can show one. */
  readonly proof: Proof | undefined;
}

/** At most one exchange is under way on it. */
export interface AgentConnection extends InboundConnection {
  exchange: Exchange | undefined;
  /**
   * Reads a head as the entry point of this connection does; throws a Fault for what is malformed,
   * ambiguous or misdirected.
   */
  readonly describe: (head: RequestHead, reading: Reading) => DescribedRequestHead;
  /** The exchange of the CONNECT through which this connection came. */
  readonly tunnel: string | undefined;
}
