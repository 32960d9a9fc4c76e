/** Whether something answers: one connection, opened and closed at once, nothing sent. */
import { connect, type NetConnectOpts } from 'node:net';
import type { Clock } from '../../lib/base/clock.ts';
import { codeOf } from './finding.ts';

/**
 * undefined when it was reached, else Node's code of the failure; `TIMEOUT` after `patience`
 * milliseconds of silence.
 */
export function reach(
  where: NetConnectOpts,
  patience: number,
  clock: Clock,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(where);
    const finish = (code: string | undefined): void => {
      cancel();
      socket.destroy();
      resolve(code);
    };
    const cancel = clock.after(patience, () => finish('TIMEOUT'), true);
    socket.once('connect', () => finish(undefined));
    socket.on('error', (failure) => finish(codeOf(failure)));
  });
}
