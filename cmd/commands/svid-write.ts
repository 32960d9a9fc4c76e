/**
 * `chaperone svid write`: keeps a folder in step with the Workload API, for programs that read PEM files. Withdrawal and expiry take the files away (fail closed)
 * unless --keep; a Workload API that is merely away, and the end of this program, leave them.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { promisify } from 'node:util';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { parseDuration } from '../../lib/config/scalars.ts';
import { endpointFrom } from '../../lib/identity/address.ts';
import { removeMirror, writeMirror } from '../../lib/identity/mirror.ts';
import { startIdentity, type IdentitySource } from '../../lib/identity/source.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import type { IdentityState } from '../../lib/spiffe/identity.ts';
import type { Io } from '../io.ts';
import { processSignals } from '../signals.ts';

export interface SvidWriteOptions {
  readonly dir: string;
  readonly workloadApi?: string;
  readonly timeout: string;
  readonly hint?: string;
  readonly spiffeId?: string;
  readonly once?: boolean;
  readonly keep?: boolean;
  readonly onUpdateCommand?: string;
  /** Arguments of onUpdateCommand. */
  readonly args: readonly string[];
  readonly onUpdateSignal?: string;
  readonly pidFile?: string;
}

const COMMAND_MS = 60_000;
/** How often the wall clock is looked at for expiry: it may be set. */
const LOOK_MS = 1_000;

type Tell = () => Promise<void>;

/** @throws Fault `usage`, `timeout` (no SVID in time), `mirror`, with --once also `on-update` */
export async function svidWrite(options: SvidWriteOptions, io: Io): Promise<void> {
  const tell = teller(options);
  const select = {
    spiffeId: options.spiffeId === undefined ? undefined : parseSpiffeId(options.spiffeId),
    hint: options.hint,
  };
  const patience = parseDuration(options.timeout);
  await using source = startIdentity({
    endpoint: endpointFrom(options.workloadApi, io.env).text,
    select,
    clock: systemClock,
    onNote: ({ level, stream, text }) => io.err(`${level}: ${stream}: ${text}`),
  });
  if (options.once === true) return once(source, { options, patience, tell, io });
  await keepUp(source, { options, patience, tell, io });
}

interface Parts {
  readonly options: SvidWriteOptions;
  readonly patience: number;
  readonly tell: Tell;
  readonly io: Io;
}

async function once(source: IdentitySource, { options, patience, tell, io }: Parts): Promise<void> {
  const limit = new AbortController();
  const giveUp = systemClock.after(patience, () => limit.abort(tooLate(options)), true);
  try {
    const identity = await source.firstUpdate(limit.signal);
    await writeMirror(options.dir, identity);
    io.out(`${options.dir}: ${identity.svid.id}, valid until ${new Date(identity.svid.notAfter).toISOString()}`);
    await tell();
  } finally {
    giveUp();
  }
}

function tooLate({ timeout }: SvidWriteOptions): Fault {
  return new Fault('timeout', `no SVID came within ${timeout}`, {
    hint: 'is there a registration entry for this process?',
  });
}

/** Follows the states until SIGTERM; each change is carried out after the one before, and always with the newest state. */
async function keepUp(source: IdentitySource, { options, patience, tell, io }: Parts): Promise<void> {
  const stop = new AbortController();
  const failed = Promise.withResolvers<never>();
  const giveUp = systemClock.after(patience, () => failed.reject(tooLate(options)), true);
  let written = 0;
  let gone = false;
  let work = Promise.resolve();
  const bringUp = async (): Promise<void> => {
    const state = source.states.get();
    const why = unusable(state);
    if (state?.kind === 'current' && why === undefined && (gone || state.identity.generation !== written)) {
      giveUp();
      await writeMirror(options.dir, state.identity);
      [written, gone] = [state.identity.generation, false];
      const { id, serial, notAfter } = state.identity.svid;
      io.out(`${options.dir}: ${id}, serial ${serial}, valid until ${new Date(notAfter).toISOString()}`);
      await tell().catch((failure: unknown) => io.err(`error: ${Fault.from(failure, 'on-update').describe()}`));
    } else if (why !== undefined && !gone) {
      gone = true;
      if (options.keep !== true) await removeMirror(options.dir);
      io.err(`error: ${why}: the files of ${options.dir} are ${options.keep === true ? 'kept (--keep)' : 'removed'}`);
    }
  };
  const look = (): void => void (work = work.then(bringUp).catch(failed.reject));
  let cancel = (): void => {};
  const tick = (): void => {
    if (unusable(source.states.get()) !== undefined) look();
    cancel = systemClock.after(LOOK_MS, tick, true);
  };
  using signals = processSignals(look);
  source.states.follow(look, stop.signal);
  tick();
  try {
    await Promise.race([signals.stop, failed.promise]);
  } finally {
    giveUp();
    cancel();
    stop.abort();
    await work;
  }
}

function unusable(state: IdentityState | undefined): string | undefined {
  if (state?.kind === 'withdrawn') return `the SVID was withdrawn: ${state.problem}`;
  if (state?.kind !== 'current' || state.identity.svid.notAfter > systemClock.now()) return undefined;
  return `the SVID expired at ${new Date(state.identity.svid.notAfter).toISOString()}`;
}

/** What tells the reader of the files after each update. @throws Fault `usage` */
function teller({ onUpdateCommand: command, args, onUpdateSignal: name, pidFile }: SvidWriteOptions): Tell {
  if (command === undefined && args.length > 0)
    throw new Fault('usage', 'arguments without --on-update-command', { hint: 'say the program there' });
  if ((name === undefined) !== (pidFile === undefined))
    throw new Fault('usage', '--on-update-signal and --pid-file go together', { hint: 'give both or none' });
  const signal = signalNumber(name);
  return async () => {
    try {
      if (command !== undefined)
        await promisify(execFile)(command, args, { timeout: COMMAND_MS, killSignal: 'SIGKILL', shell: false });
      if (signal !== undefined && pidFile !== undefined) process.kill(pidOf(await readFile(pidFile, 'utf8')), signal);
    } catch (failure) {
      throw Fault.from(failure, 'on-update', 'the files are written, but their reader could not be told');
    }
  };
}

function signalNumber(name: string | undefined): number | undefined {
  if (name === undefined) return undefined;
  const found = Object.entries(constants.signals).find(([known]) => known === name || known === `SIG${name}`);
  if (found !== undefined) return found[1];
  throw new Fault('usage', `there is no signal ${JSON.stringify(name)}`, { hint: 'such as HUP or USR1' });
}

/** Only one process: 0 and negative numbers would be groups of them. */
function pidOf(text: string): number {
  const pid = /^[1-9][0-9]{0,9}$/.test(text.trim()) ? Number(text.trim()) : 0;
  if (pid > 1) return pid;
  throw new Fault('on-update', 'the pid file does not hold one process id');
}
