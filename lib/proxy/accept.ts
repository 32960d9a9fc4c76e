/** What becomes of an accepted connection: HTTP on the forward port and at the listeners of http destinations, an exchange of its own at those of tcp ones. */
import type { Socket } from 'node:net';
import { Fault } from '../base/fault.ts';
import { ignore, onAbort } from '../base/signal.ts';
import type { Connection, HandedOver, ServerExchange } from '../http1/exchange.ts';
import type { Http1Limits } from '../http1/limits.ts';
import { serveConnection } from '../http1/server.ts';
import { serveHttp2 } from '../http2/server.ts';
import { cut } from './copy.ts';
import type { ListenerView } from './describe.ts';
import { Exchange } from './exchange.ts';
import { handle, type Standing } from './handle.ts';
import type { Bound } from './listeners.ts';
import { RequestArrival, type AgentConnection, type RelayParts } from './relay.ts';
import { faultAnswer, type Answer } from './respond.ts';
import { ConnectArrival, RawArrival } from './tunnel.ts';

export interface AcceptOptions {
  readonly standing: Standing;
  readonly relay: RelayParts;
  readonly limits: Http1Limits;
}

export function acceptor({ standing, relay, limits }: AcceptOptions): (socket: Socket, bound: Bound) => void {
  const { clock, policy } = standing;

  const serveHttp = (socket: Socket, bound: Bound): void => {
    const local = { host: plainAddress(socket.localAddress), port: socket.localPort ?? 0 };
    const view = (): ListenerView | undefined => {
      if (bound.forward) return undefined;
      const destination = policy.get()?.byName.get(bound.name);
      if (destination !== undefined) return { destination, local };
      throw new Fault('denied', `destination ${bound.name} of this listener is no longer in the policy`);
    };
    const agent: AgentConnection = { exchange: undefined, listener: view };
    const entry = bound.forward ? 'forward' : 'listener';
    let watched = false;
    const watch = ({ signal }: Connection): void => {
      watched = true;
      // One listener a connection instead of one a request.
      onAbort(signal, (reason) => agent.exchange?.abort(reason));
    };
    const arrive = (x: ServerExchange): Promise<void> => {
      if (!watched) watch(x.connection);
      const tunnel = bound.forward && x.head.method === 'CONNECT';
      return handle(
        tunnel ? new ConnectArrival(x, agent, relay) : new RequestArrival(x, agent, entry, relay),
        standing,
      );
    };
    const refuse = (fault: Fault, connection: Connection): Answer => {
      const exchange = new Exchange(entry, connection, clock.monotonic());
      const answer = faultAnswer(fault, exchange.id);
      exchange.status = answer.head.status;
      standing.evidence.refused(exchange, fault);
      standing.evidence.ended(exchange, fault);
      return answer;
    };
    const draining = bound.closing;
    // Every stream is an agent's connection of its own.
    const stream = (x: ServerExchange): Promise<void> => {
      const from: AgentConnection = { exchange: undefined, listener: view };
      onAbort(x.connection.signal, (reason) => from.exchange?.abort(reason));
      return handle(new RequestArrival(x, from, entry, relay), standing);
    };
    const preface = ({ socket: taken, early }: HandedOver): void =>
      ignore(
        serveHttp2(taken, { limits, clock, draining, handle: stream, refuse, scheme: 'http' }, early),
        'it never rejects',
      );
    const serve = { limits, clock, draining, handle: arrive, refuse };
    ignore(serveConnection(socket, bound.forward ? serve : { ...serve, preface }), 'it never rejects');
  };

  return (socket, bound) => {
    if (bound.closing.aborted) {
      cut(socket);
      return;
    }
    if (bound.forward) return serveHttp(socket, bound);
    const destination = policy.get()?.byName.get(bound.name);
    if (destination === undefined) cut(socket);
    else if (destination.protocol === 'http') serveHttp(socket, bound);
    else ignore(handle(new RawArrival(socket, destination, relay), standing), 'it never rejects');
  };
}

/** IPv4 in IPv6 form is the same place (a dual-stack listener). */
function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}
