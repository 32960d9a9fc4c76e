import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import type { Clock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { callFault } from '../../lib/identity/status.ts';
import { type Overdue, watch, type WatchEvent } from '../../lib/identity/watch.ts';

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

/**
 * What each attempt does: messages that are read ('bad' is discarded), then how it ends; undefined
 * is a clean end.
 */
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

t.test(
  'every end but a final one is followed by another attempt (C-20, C-41, C-42, C-44, C-45)',
  async (t) => {
    const codes = [
      status.UNAVAILABLE,
      status.CANCELLED,
      status.PERMISSION_DENIED,
      status.INTERNAL,
      status.UNKNOWN,
    ];
    const { events, attempts } = await run([
      {},
      ...codes.map((code) => ({ end: failed(code) })),
      { messages: ['a'] },
    ]);
    t.equal(attempts, codes.length + 3);
    t.same(
      events.map((event) => (event.kind === 'lost' ? event.withdrawn : event.kind)),
      [false, false, false, true, false, false, 'update', false],
    );
  },
);

t.test('InvalidArgument ends it, and Unimplemented does not (C-40, C-43)', async (t) => {
  const last = await run([
    { messages: ['a'], end: failed(status.INVALID_ARGUMENT) },
    { messages: ['never'] },
  ]);
  t.equal(last.attempts, 1);
  t.match(last.events, [
    { kind: 'update', value: 'a' },
    { kind: 'lost', final: true },
  ]);
  const { events } = await run([
    { messages: ['a'], end: failed(status.UNIMPLEMENTED) },
    { messages: ['b'] },
  ]);
  t.match(events, [
    { kind: 'update', value: 'a' },
    { kind: 'lost', final: false, withdrawn: false },
    { kind: 'update', value: 'b' },
    { kind: 'lost' },
  ]);
});

t.test(
  'delays double up to a cap, and start over only after a good message (C-20, C-45)',
  async (t) => {
    const away = { end: failed(status.UNAVAILABLE) };
    const { slept } = await run([
      ...Array(8).fill(away),
      { messages: ['bad'] },
      { messages: ['good'] },
      away,
    ]);
    t.same(slept, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000, 250, 500]);
  },
);

t.test('without an identity it asks at a gentler pace of its own (C-42)', async (t) => {
  const denied = { end: failed(status.PERMISSION_DENIED) };
  const { slept } = await run([
    denied,
    { end: failed(status.UNAVAILABLE) },
    ...Array(5).fill(denied),
  ]);
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
  for await (const { kind } of watch({
    what: 'x',
    open,
    read: async (m) => m,
    clock,
    signal: stop.signal,
  }))
    kinds.push(kind);
  t.same(kinds, ['lost']);
});

/** Streams whose messages a test sends, and time that passes when it says so. */
class Server {
  readonly stop = new AbortController();
  readonly events: WatchEvent<string>[] = [];
  readonly opened: {
    readonly signal: AbortSignal;
    send(message: string): void;
    fail(fault: Fault): void;
  }[] = [];
  every: number | undefined;
  atOnce = false;
  readonly #timers = new Map<() => void, number>();
  #now = 0;
  readonly done: Promise<void>;

  constructor() {
    this.done = this.#run();
  }

  async #run(): Promise<void> {
    const clock: Clock = {
      now: () => this.#now,
      monotonic: () => this.#now,
      after: (ms, act) => {
        this.#timers.set(act, this.#now + ms);
        return () => this.#timers.delete(act);
      },
    };
    const { signal } = this.stop;
    const overdue = (): Overdue | undefined =>
      this.every === undefined ? undefined : { every: this.every, atOnce: this.atOnce };
    const options = {
      what: 'things',
      open: (one: AbortSignal) => this.#open(one),
      clock,
      signal,
      overdue,
    };
    const read = async (message: string): Promise<string> => message;
    for await (const event of watch({ ...options, read, random: () => 0 })) this.events.push(event);
  }

  async *#open(signal: AbortSignal): AsyncGenerator<string> {
    const sent: (string | Fault)[] = [];
    let wake = (): void => {};
    const push = (one: string | Fault): void => {
      sent.push(one);
      wake();
    };
    this.opened.push({ signal, send: push, fail: push });
    signal.addEventListener('abort', () => push(new Fault('aborted', 'closed')));
    for (;;) {
      const next = sent.shift();
      if (next instanceof Fault) throw next;
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  async pass(seconds: number): Promise<void> {
    for (let n = 0; n < seconds; n += 1) {
      this.#now += 1000;
      for (const [act, at] of this.#timers) {
        if (at > this.#now) continue;
        this.#timers.delete(act);
        act();
      }
      await settled();
    }
  }

  open(): readonly number[] {
    return this.opened.flatMap(({ signal }, at) => (signal.aborted ? [] : at));
  }
}

const settled = (): Promise<void> =>
  new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

async function server(t: Test): Promise<Server> {
  const made = new Server();
  t.teardown(() => made.stop.abort(new Fault('shutting-down', 'the test is over')));
  await settled();
  return made;
}

t.test(
  'a silent stream is left alone until news is overdue; then another is tried beside it, again and again',
  async (t) => {
    const s = await server(t);
    s.opened[0]?.send('a');
    await s.pass(1000);
    t.equal(s.opened.length, 1);
    s.every = 5000;
    await s.pass(1);
    t.same(s.open(), [0, 1]);
    await s.pass(4);
    t.same(s.open(), [0, 1]);
    await s.pass(1);
    t.same(s.open(), [0, 2], 'the first is kept, the second attempt gives way to the third');
    s.opened[0]?.send('b');
    await settled();
    t.match(s.events, [{ value: 'a' }, { value: 'b' }], 'the first is still read');
  },
);

t.test(
  'once news is overdue the first attempt is made at once, the others in their time',
  async (t) => {
    const s = await server(t);
    s.opened[0]?.send('a');
    await s.pass(2);
    [s.every, s.atOnce] = [5000, true];
    await s.pass(1);
    t.same(s.open(), [0, 1]);
    s.opened[1]?.send('a');
    await settled();
    await s.pass(4);
    t.same(s.open(), [1]);
    await s.pass(1);
    t.same(s.open(), [1, 2]);
    s.every = undefined;
    s.opened[2]?.send('b');
    await settled();
    await s.pass(2);
    s.every = 5000;
    await s.pass(1);
    t.same(s.open(), [2, 3]);
  },
);

t.test(
  'the stream that was tried takes the place of the silent one once it has answered',
  async (t) => {
    const s = await server(t);
    s.every = 5000;
    await s.pass(5);
    t.same(s.open(), [0, 1]);
    s.opened[1]?.send('new');
    await settled();
    t.same(s.open(), [1]);
    s.opened[0]?.send('late');
    await settled();
    t.match(s.events, [{ kind: 'update', value: 'new' }]);
    t.equal(s.events.length, 1, 'what the other says late is not looked at');
  },
);

t.test('an attempt that fails is told and leaves the silent stream as it is', async (t) => {
  const s = await server(t);
  s.every = 5000;
  await s.pass(5);
  s.opened[1]?.fail(failed(status.UNAVAILABLE));
  await settled();
  t.same(s.open(), [0]);
  t.match(s.events, [{ kind: 'lost', final: false, withdrawn: false }]);
  await s.pass(5);
  t.same(s.open(), [0, 2]);
});

t.test('when the silent stream ends, the one that was tried goes on', async (t) => {
  const s = await server(t);
  s.every = 5000;
  await s.pass(5);
  s.opened[0]?.fail(failed(status.UNAVAILABLE));
  await settled();
  t.equal(s.opened.length, 2);
  s.opened[1]?.send('a');
  await settled();
  t.match(s.events, [{ kind: 'lost' }, { kind: 'update', value: 'a' }]);
});

t.test('an answer that denies or is final holds against the silent stream too', async (t) => {
  for (const code of [status.PERMISSION_DENIED, status.INVALID_ARGUMENT]) {
    const s = await server(t);
    s.every = 5000;
    await s.pass(5);
    s.opened[1]?.fail(failed(code));
    await settled();
    t.same(s.open(), []);
    const final = code === status.INVALID_ARGUMENT;
    t.match(s.events, [{ kind: 'lost', final, withdrawn: !final }]);
    if (final) await s.done;
  }
});

t.test('no message is read before the one before it was dealt with', async (t) => {
  const stop = new AbortController();
  let [sent, seen] = [0, 0];
  const open = async function* (): AsyncGenerator<number> {
    for (; sent < 100; sent += 1) yield sent;
  };
  const clock: Clock = { now: () => 0, monotonic: () => 0, after: () => () => {} };
  const options = { what: 'x', open, read: async (m: number) => m, clock, signal: stop.signal };
  for await (const event of watch(options)) {
    await settled();
    if (event.kind === 'update') seen += 1;
    t.ok(sent <= seen);
    if (seen === 20) break;
  }
  t.equal(sent, 19);
});
