/**
 * `chaperone svid write`: keeps a folder in step with the Workload API, for programs that read PEM
 * files. Withdrawal and expiry take the files away (fail closed) unless --keep; a Workload API that
 * is merely away, and the end of this program, leave them.
 */
import { backoff } from '../../lib/base/backoff.ts';
import type { Cell } from '../../lib/base/cell.ts';
import { sleep, systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { ignore, link } from '../../lib/base/signal.ts';
import { endpointFrom } from '../../lib/identity/address.ts';
import { removeSvidFiles, writeSvidFiles } from '../../lib/identity/svid-files.ts';
import { startIdentity, type IdentitySource } from '../../lib/identity/source.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import type { Identity, IdentityState } from '../../lib/spiffe/identity.ts';
import { firstSvid } from '../first-svid.ts';
import { done, type Io } from '../io.ts';
import { onUpdate, type OnUpdateOptions, type Tell } from '../on-update.ts';
import { processSignals } from '../signals.ts';

export interface SvidWriteOptions extends OnUpdateOptions {
  readonly dir: string;
  readonly workloadApi?: string;
  readonly timeout: string;
  readonly hint?: string;
  readonly spiffeId?: string;
  readonly once?: boolean;
  readonly keep?: boolean;
}

/**
 * How often the wall clock is looked at for expiry (it may be set), and a write that failed is
 * tried again.
 */
const LOOK_MS = 1_000;
/** Longest pause before a reader that could not be told is told again. */
const MAX_PAUSE_MS = 60_000;
/** How often it is tried with --once, a second apart. */
const TRIES_ONCE = 5;
const NEWS = new Fault('aborted', 'there is a new state');

interface Parts {
  readonly options: SvidWriteOptions;
  readonly source: IdentitySource;
  readonly tell: Tell;
  readonly io: Io;
}

/**
 * @throws Fault `usage`, `timeout` (no SVID in time), `mirror` (the first write failed), with
 *         --once also `on-update` and `aborted`
 */
export async function svidWrite(options: SvidWriteOptions, io: Io): Promise<void> {
  const tell = onUpdate(options);
  await using source = startIdentity({
    endpoint: endpointFrom(options.workloadApi, io.env).text,
    select: {
      spiffeId: options.spiffeId === undefined ? undefined : parseSpiffeId(options.spiffeId),
      hint: options.hint,
    },
    clock: systemClock,
    onNote: ({ level, stream, text }) => io.err(`${level}: ${stream}: ${text}`),
  });
  const stop = new AbortController();
  using signals = processSignals(() => {});
  ignore(
    signals.stop.then((name) => stop.abort(new Fault('aborted', `ended by ${name}`))),
    'it does not fail',
  );
  const parts = { options, source, tell, io };
  try {
    const identity = await firstSvid(source, options.timeout, stop.signal);
    await put(identity, parts);
    if (options.once === true) return await tellSoon(tell, stop.signal);
    await keepUp(identity.generation, parts, stop.signal);
  } catch (failure) {
    if (!stop.signal.aborted || options.once === true) throw failure;
  }
}

async function put(identity: Identity, { options: { dir }, io }: Parts): Promise<void> {
  await writeSvidFiles(dir, identity);
  const { id, serial, notAfter } = identity.svid;
  done(io, `${dir}: ${id}, serial ${serial}, valid until ${new Date(notAfter).toISOString()}`);
}

function report(failure: unknown, io: Io): void {
  io.err(`error: ${Fault.from(failure, 'internal').describe()}`);
}

/** With --once: a reader that is just starting gets a few seconds. @throws Fault `on-update` */
async function tellSoon(tell: Tell, signal: AbortSignal): Promise<void> {
  for (let left = TRIES_ONCE; ; left -= 1) {
    try {
      return await tell(signal);
    } catch (failure) {
      signal.throwIfAborted();
      if (left === 1) throw failure;
    }
    await sleep(systemClock, LOOK_MS, signal);
  }
}

/**
 * Whether the reader knows of what is written; one that could not be told is told again, ever less
 * often.
 */
class Telling {
  readonly #parts: Parts;
  readonly #pauses = backoff({ baseMs: LOOK_MS, capMs: MAX_PAUSE_MS, random: () => 0 });
  #due: number | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** There is something new to tell. */
  news(): void {
    this.#pauses.reset();
    this.#due = 0;
  }

  /** There is nothing to tell any more. */
  forget(): void {
    this.#due = undefined;
  }

  async tellIfDue(signal: AbortSignal): Promise<void> {
    if (this.#due === undefined || systemClock.monotonic() < this.#due) return;
    try {
      await this.#parts.tell(signal);
      this.#due = undefined;
    } catch (failure) {
      signal.throwIfAborted();
      const pause = this.#pauses.next();
      this.#due = systemClock.monotonic() + pause;
      report(failure, this.#parts.io);
    }
  }
}

/**
 * Always carries out the newest state; `written` is the generation whose files are in force,
 * undefined when they are gone. Ends with the signal's reason.
 */
async function keepUp(first: number, parts: Parts, signal: AbortSignal): Promise<never> {
  const { source, io } = parts;
  const telling = new Telling(parts);
  telling.news();
  let written: number | undefined = first;
  let told = '';
  for (;;) {
    await telling.tellIfDue(signal);
    await changed(source.states, signal);
    const state = source.states.get();
    try {
      const problem = unusable(state);
      if (problem !== undefined && written !== undefined) {
        await takeAway(problem, parts);
        written = undefined;
        telling.forget();
      }
      if (
        problem !== undefined ||
        state?.kind !== 'current' ||
        state.identity.generation === written
      )
        continue;
      await put(state.identity, parts);
      written = state.identity.generation;
      told = '';
      telling.news();
    } catch (failure) {
      signal.throwIfAborted();
      const { message } = Fault.from(failure, 'internal');
      if (message !== told) report(failure, io);
      told = message;
    }
  }
}

async function takeAway(problem: string, { options: { dir, keep }, io }: Parts): Promise<void> {
  if (keep !== true) await removeSvidFiles(dir);
  io.err(
    `error: ${problem}: the files of ${dir} are ${keep === true ? 'kept (--keep)' : 'removed'}`,
  );
}

/** Waits for the next state, and no longer than a look at the clock. @throws the signal's reason */
async function changed(states: Cell<IdentityState>, signal: AbortSignal): Promise<void> {
  using waiting = link(signal);
  states.follow(() => waiting.abort(NEWS), waiting.signal);
  await sleep(systemClock, LOOK_MS, waiting.signal).catch(() => signal.throwIfAborted());
}

function unusable(state: IdentityState | undefined): string | undefined {
  if (state?.kind === 'withdrawn') return `the SVID was withdrawn: ${state.problem}`;
  if (state?.kind !== 'current' || state.identity.svid.notAfter > systemClock.now())
    return undefined;
  return `the SVID expired at ${new Date(state.identity.svid.notAfter).toISOString()}`;
}
