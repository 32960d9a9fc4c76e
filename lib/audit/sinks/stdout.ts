/**
 * Standard output. What it is gets opened once more, since the one that we were given may be shared
 * with programs that bear no write that does not wait; a socket cannot be, and is taken as it is.
 */
import { closeSync, constants, openSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import { flag } from '../../schema/decode.ts';
import { CLOSED, LINE_END, type Sink, type SinkKind, unavailable } from './sink.ts';
import { nonBlockingWriter } from './writer.ts';

export const stdoutKind: SinkKind<boolean> = Object.freeze({
  schema: flag(),
  doc: 'true: JSON Lines go to standard output.',
  example: '{ stdout: true }',
  absolute: (value: boolean) => value,
  open: (_value: boolean, clock: Clock) => Promise.resolve(stdoutSink(clock)),
});

const STDOUT = 1;

function stdoutSink(clock: Clock): Sink {
  const closed = new AbortController();
  const own = reopened();
  // The engine sets what its stream stands on to write without waiting.
  const descriptor = own ?? (process.stdout.writable ? STDOUT : -1);
  const write = nonBlockingWriter(descriptor, clock, closed.signal);
  let incomplete = false;
  return {
    truncatedBytes: 0,
    incompleteBytes: 0,
    async append(lines) {
      const bytes = incomplete ? Buffer.concat([Buffer.from([LINE_END]), lines]) : lines;
      for (let written = 0; written < bytes.length;) {
        try {
          written += await write(bytes, written);
        } catch (error) {
          incomplete ||= written > 0;
          throw unavailable('standard output', error);
        }
      }
      incomplete = false;
    },
    reopen: () => Promise.resolve(),
    [Symbol.asyncDispose]() {
      closed.abort(CLOSED);
      if (own !== undefined) closeSync(own);
      return Promise.resolve();
    },
  };
}

function reopened(): number | undefined {
  try {
    return openSync(
      `/proc/self/fd/${STDOUT}`,
      constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK,
    );
  } catch {
    return undefined;
  }
}
