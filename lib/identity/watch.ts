/**
 * One endless stream out of many attempts, for every kind of stream. It ends only by our own signal
 * or by a status that asking again cannot change; a server that closes, restarts or cancels is
 * asked again after a back-off with full jitter, which starts over only after a message that was
 * good. A stream that stays open and says nothing, though news is overdue, may be a server that
 * hangs: another connection is tried beside it, and takes its place once it has answered.
 */
import { backoff } from '../base/backoff.ts';
import { sleep } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore, type Linked, link, onAbort } from '../base/signal.ts';
import { LIMITS } from './limits.ts';
import { endFault, isFinal, withdraws } from './status.ts';

export type WatchEvent<T> =
  | { readonly kind: 'update'; readonly value: T }
  /** A message was not usable as a whole; what was supplied before stands. */
  | { readonly kind: 'discarded'; readonly fault: Fault }
  /**
   * The stream ended. `final`: nobody asks again. `withdrawn`: what it supplied may not be used any
   * more.
   */
  | {
      readonly kind: 'lost';
      readonly fault: Fault;
      readonly final: boolean;
      readonly withdrawn: boolean;
    };

export interface WatchOptions<M, T> {
  /** For messages: what the stream supplies. */
  readonly what: string;
  /** One attempt. */
  readonly open: (signal: AbortSignal) => AsyncIterable<M>;
  /** Judges one message; a Fault discards it. */
  readonly read: (message: M) => Promise<T>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Uniform in [0, 1); for the jitter. */
  readonly random?: () => number;
  /** Whether news is overdue; asked each second. */
  readonly overdue?: () => Overdue | undefined;
}

export interface Overdue {
  /** Milliseconds between attempts beside the open stream. */
  readonly every: number;
  /** The first one is made at once, and not only when the stream has been silent for so long. */
  readonly atOnce: boolean;
}

/** How often it is asked whether news is overdue. */
const LOOK_MS = 1_000;

/** An attempt under way. */
interface Line<M> {
  readonly stop: Linked;
  readonly messages: AsyncIterator<M>;
}

/** What an attempt came to next. */
type Step<M> =
  | { readonly line: Line<M>; readonly message: M; readonly fault?: never }
  /** It ended. */
  | { readonly line: Line<M>; readonly fault: Fault };

/**
 * Attempts, and what they come to; of each one thing at a time, so that no server is read ahead of.
 */
class Lines<M> {
  readonly #options: WatchOptions<M, unknown>;
  readonly #steps: Step<M>[] = [];
  #wake: () => void = () => {};

  constructor(options: WatchOptions<M, unknown>) {
    this.#options = options;
  }

  open(): Line<M> {
    const stop = link(this.#options.signal);
    const line = { stop, messages: this.#options.open(stop.signal)[Symbol.asyncIterator]() };
    this.more(line);
    return line;
  }

  /** Lets the line come to its next thing. */
  more(line: Line<M>): void {
    const tell = (step: Step<M>): void => {
      this.#steps.push(step);
      this.#wake();
    };
    line.messages.next().then(
      (next) => {
        if (next.done === true) tell({ line, fault: endFault(this.#options.what) });
        else tell({ line, message: next.value });
      },
      (failure: unknown) => tell({ line, fault: Fault.from(failure, 'internal') }),
    );
  }

  close(line: Line<M> | undefined): void {
    if (line === undefined) return;
    line.stop.abort(new Fault('aborted', 'another connection has taken its place'));
    line.stop[Symbol.dispose]();
    ignore(Promise.resolve(line.messages.return?.()), 'it ends with the reason above');
  }

  /** The next thing of any line; undefined after `ms`, or when the signal aborts. */
  async next(ms: number | undefined): Promise<Step<M> | undefined> {
    const { clock, signal } = this.#options;
    if (this.#steps.length === 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const cancel = ms === undefined ? () => {} : clock.after(ms, () => this.#wake(), true);
        const off = onAbort(signal, () => this.#wake());
        this.#wake = () => (cancel(), off(), resolve());
      });
    }
    return this.#steps.shift();
  }
}

/** The stream in use, and the one that is tried beside it. */
class Watching<M, T> {
  readonly #options: WatchOptions<M, T>;
  readonly #lines: Lines<M>;
  #main: Line<M> | undefined;
  #second: Line<M> | undefined;
  #asked = 0;
  /** The attempt that is due at once has been made. */
  #pressed = false;
  /** Whose message was told and has been dealt with by the time that more is asked for. */
  #read: Line<M> | undefined;

  constructor(options: WatchOptions<M, T>) {
    this.#options = options;
    this.#lines = new Lines<M>(options);
  }

  get isOpen(): boolean {
    return this.#main !== undefined;
  }

  /** What happens next; undefined when that is nothing to tell. */
  async next(): Promise<WatchEvent<T> | undefined> {
    if (this.#read !== undefined) this.#lines.more(this.#read);
    this.#read = undefined;
    if (this.#main === undefined) this.#main = this.#open();
    const { overdue, signal } = this.#options;
    const step = await this.#lines.next(overdue === undefined ? undefined : LOOK_MS);
    if (signal.aborted) return undefined;
    if (step === undefined) {
      this.#look();
      return undefined;
    }
    if (step.line !== this.#main && step.line !== this.#second) return undefined;
    return step.fault === undefined
      ? await this.#take(step.line, step.message)
      : this.#lose(step.line, step.fault);
  }

  close(): void {
    this.#lines.close(this.#main);
    this.#lines.close(this.#second);
  }

  #open(): Line<M> {
    this.#asked = this.#options.clock.monotonic();
    return this.#lines.open();
  }

  #look(): void {
    const { clock, overdue } = this.#options;
    const due = overdue?.();
    const first = due?.atOnce === true && !this.#pressed;
    this.#pressed = due?.atOnce === true;
    if (due === undefined || (!first && clock.monotonic() - this.#asked < due.every)) return;
    this.#lines.close(this.#second);
    this.#second = this.#open();
  }

  async #take(line: Line<M>, message: M): Promise<WatchEvent<T>> {
    if (line === this.#second) {
      this.#lines.close(this.#main);
      [this.#main, this.#second] = [line, undefined];
    }
    this.#asked = this.#options.clock.monotonic();
    this.#read = line;
    return await judged(message, this.#options);
  }

  #lose(line: Line<M>, fault: Fault): WatchEvent<T> {
    const [final, withdrawn] = [isFinal(fault), withdraws(fault)];
    this.#lines.close(line);
    if (final || withdrawn) {
      // Whoever answers now knows better than a stream that is silent.
      this.close();
      this.#main = this.#second = undefined;
    } else if (line === this.#second) this.#second = undefined;
    else [this.#main, this.#second] = [this.#second, undefined];
    return { kind: 'lost', fault, final, withdrawn };
  }
}

/** Yields what happens until the signal aborts, and then ends without an error. */
export async function* watch<M, T>(
  options: WatchOptions<M, T>,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const { clock, signal, random } = options;
  const jitter = random === undefined ? {} : { random };
  const away = backoff({ ...LIMITS.away, ...jitter });
  const denied = backoff({ ...LIMITS.denied, ...jitter });
  const watching = new Watching<M, T>(options);
  try {
    while (!signal.aborted) {
      const event = await watching.next();
      if (event === undefined) continue;
      if (event.kind === 'update') {
        away.reset();
        denied.reset();
      }
      yield event;
      if (event.kind !== 'lost') continue;
      if (event.final) return;
      if (!watching.isOpen) await pause(clock, (event.withdrawn ? denied : away).next(), signal);
    }
  } finally {
    watching.close();
  }
}

async function judged<M, T>(message: M, { read }: WatchOptions<M, T>): Promise<WatchEvent<T>> {
  try {
    return { kind: 'update', value: await read(message) };
  } catch (failure) {
    if (!(failure instanceof Fault)) throw failure;
    return { kind: 'discarded', fault: failure };
  }
}

/** Waits, or returns at once when the signal aborts, which the loop then sees. */
async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(clock, ms, signal);
  } catch (failure) {
    if (!signal.aborted) throw failure;
  }
}
