import { status } from '@grpc/grpc-js';
import t from 'tap';
import type { Clock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { callFault } from '../../lib/identity/status.ts';
import { watch, type WatchEvent } from '../../lib/identity/watch.ts';

/** A clock whose sleeps end at once and are written down. */
function recordingClock(): Clock & { readonly slept: readonly number[] } {
  const slept: number[] = [];
  return {
    slept,
    now: () => 0,
    monotonic: () => 0,
    after(ms, act) {
      slept.push(ms);
      const timer = setImmediate(act);
      return () => clearImmediate(timer);
    },
  };
}

const failed = (code: number): Fault => callFault({ code }, 'X');

/** What each attempt does: messages that are read ('bad' is discarded), then how it ends; undefined is a clean end. */
interface Attempt {
  readonly messages?: readonly string[];
  readonly end?: Fault;
}

interface Run {
  readonly events: readonly WatchEvent<string>[];
  readonly slept: readonly number[];
  readonly attempts: number;
}

/** Runs the attempts in order and stops after the last. */
async function run(attempts: readonly Attempt[], random = 0): Promise<Run> {
  const clock = recordingClock();
  const stop = new AbortController();
  let count = 0;
  const open = async function* (): AsyncGenerator<string> {
    const attempt = attempts[count];
    count += 1;
    if (attempt === undefined) {
      stop.abort(new Fault('shutting-down', 'done'));
      return;
    }
    yield* attempt.messages ?? [];
    if (attempt.end !== undefined) throw attempt.end;
  };
  const read = async (message: string): Promise<string> => {
    if (message === 'bad') throw new Fault('workload-api-message', 'bad');
    return message;
  };
  const events: WatchEvent<string>[] = [];
  const options = { what: 'things', open, read, clock, signal: stop.signal, random: () => random };
  for await (const event of watch(options)) events.push(event);
  return { events, slept: clock.slept, attempts: count };
}

t.test('every end but a final one is followed by another attempt (C-20, C-41, C-42, C-44, C-45)', async (t) => {
  const codes = [status.UNAVAILABLE, status.CANCELLED, status.PERMISSION_DENIED, status.INTERNAL, status.UNKNOWN];
  const { events, attempts } = await run([{}, ...codes.map((code) => ({ end: failed(code) })), { messages: ['a'] }]);
  t.equal(attempts, codes.length + 3);
  t.same(
    events.map((event) => (event.kind === 'lost' ? event.withdrawn : event.kind)),
    [false, false, false, true, false, false, 'update', false],
  );
});

t.test('InvalidArgument and Unimplemented end it (C-40, C-43)', async (t) => {
  for (const code of [status.INVALID_ARGUMENT, status.UNIMPLEMENTED]) {
    const { events, attempts } = await run([{ messages: ['a'], end: failed(code) }, { messages: ['never'] }]);
    t.equal(attempts, 1);
    t.match(events, [
      { kind: 'update', value: 'a' },
      { kind: 'lost', final: true },
    ]);
  }
});

t.test('delays double up to a cap, and start over only after a good message (C-20, C-45)', async (t) => {
  const away = { end: failed(status.UNAVAILABLE) };
  const { slept } = await run([...Array(8).fill(away), { messages: ['bad'] }, { messages: ['good'] }, away]);
  t.same(slept, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000, 250, 500]);
});

t.test('without an identity it asks at a gentler pace of its own (C-42)', async (t) => {
  const denied = { end: failed(status.PERMISSION_DENIED) };
  const { slept } = await run([denied, { end: failed(status.UNAVAILABLE) }, ...Array(5).fill(denied)]);
  t.same(slept, [1000, 250, 2000, 4000, 8000, 16_000, 30_000]);
});

t.test('delays are spread over their whole range (C-45)', async (t) => {
  t.same((await run(Array(3).fill({}), 0.5)).slept, [125, 250, 500]);
});

t.test('a bad message is told and the stream goes on (C-24)', async (t) => {
  const { events } = await run([{ messages: ['bad', 'a', 'bad', 'b'] }]);
  t.same(
    events.map(({ kind }) => kind),
    ['discarded', 'update', 'discarded', 'update', 'lost'],
  );
});

t.test('our own signal ends it without an event, while it waits too', async (t) => {
  const stop = new AbortController();
  const clock: Clock = { now: () => 0, monotonic: () => 0, after: () => () => {} };
  const open = async function* (): AsyncGenerator<string> {
    setImmediate(() => stop.abort(new Fault('shutting-down', 'now')));
    yield* [];
  };
  const kinds: string[] = [];
  for await (const { kind } of watch({ what: 'x', open, read: async (m) => m, clock, signal: stop.signal }))
    kinds.push(kind);
  t.same(kinds, ['lost']);
});
