/**
 * Accepted connections: HTTP on the forward port and at the listeners of http
 * destinations, an exchange of its own at those of tcp ones.
 */
import type { Socket } from 'node:net';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import { describeForward, describeForwardSocket, describeListener } from '../exchange/describe.ts';
import { handle } from '../exchange/handle.ts';
import type { ListenerView } from '../exchange/local-listener.ts';
import type { Caller } from '../exchange/shares.ts';
import type { Interceptor } from '../forward/interceptor.ts';
import { RawInbound } from '../forward/raw.ts';
import { ConnectInbound } from '../forward/tunnel.ts';
import { abortSocket } from '../http1/sockets.ts';
import type { Authority } from '../net/authority.ts';
import { isOfRequests } from '../policy/protocols/index.ts';
import type { Bound } from './bound.ts';
import { type HttpEntry, type ServeParts, serveHttp } from './serve.ts';

export interface AcceptOptions extends ServeParts {
  readonly interceptor: Interceptor;
}

export function acceptor(
  options: AcceptOptions,
): (socket: Socket, bound: Bound, caller: Caller) => void {
  const { context, forward: forwarding, interceptor } = options;
  const { policy } = context;

  const forward = (bound: Bound, caller: Caller): HttpEntry => ({
    entry: 'forward',
    describe: bound.agent === undefined ? describeForward : describeForwardSocket,
    closing: bound.closing,
    lastCall: bound.lastCall,
    caller,
    connect: (request, connection) =>
      new ConnectInbound(request, connection, {
        ...forwarding,
        interceptor,
        closing: bound.closing,
      }),
  });

  const listener = (socket: Socket, bound: Bound, caller: Caller): HttpEntry => {
    const local = bound.task === undefined ? localOf(socket) : UNIX;
    const view = (): ListenerView => {
      const destination = policy.get()?.byName.get(bound.name);
      if (destination !== undefined) return { destination, local };
      throw new Fault(
        'denied',
        `destination ${bound.name} of this listener is no longer in the policy`,
      );
    };
    return {
      entry: 'listener',
      describe: (head, reading) => describeListener(head, view(), reading),
      closing: bound.closing,
      lastCall: bound.lastCall,
      caller,
      task: bound.task,
      http2: 'preface',
    };
  };

  const serve = (socket: Socket, entry: HttpEntry): void =>
    ignore(serveHttp(socket, entry, options), 'it never rejects');

  return (socket, bound, caller) => {
    if (bound.closing.aborted) {
      abortSocket(socket);
      return;
    }
    if (bound.forward) return serve(socket, forward(bound, caller));
    const destination = policy.get()?.byName.get(bound.name);
    if (destination === undefined) abortSocket(socket);
    else if (isOfRequests(destination)) serve(socket, listener(socket, bound, caller));
    else {
      const connection = { destination, caller, task: bound.task, proof: undefined };
      ignore(handle(new RawInbound(socket, connection, forwarding), context), 'it never rejects');
    }
  };
}

/**
 * A Unix socket stands for its destination under the name that clients give the other end of one.
 */
const UNIX: Authority = Object.freeze({ host: 'localhost', port: 80 });

function localOf({ localAddress, localPort }: Socket): Authority {
  return { host: plainAddress(localAddress), port: localPort ?? 0 };
}

/** IPv4 in IPv6 form is the same place (a dual-stack listener). */
function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}
