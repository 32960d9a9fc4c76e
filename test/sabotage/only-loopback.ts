/**
 * Loaded before a sabotaged test: with a check of addresses out of the way, whatever is not this
 * machine refuses to be reached, instead of being called.
 */
import { Socket } from 'node:net';

type Call = (this: Socket, ...given: unknown[]) => Socket;

const connect: unknown = Reflect.get(Socket.prototype, 'connect');

Socket.prototype.connect = function guarded(this: Socket, ...given: unknown[]): Socket {
  const [first] = given.flat();
  const host =
    typeof first === 'object' && first !== null && 'host' in first
      ? String(first.host)
      : '127.0.0.1';
  if (host === '::1' || host === 'localhost' || host.startsWith('127.'))
    return Reflect.apply(connect as Call, this, given);
  process.nextTick(() => this.destroy(new Error(`${host} is not this machine`)));
  return this;
};
