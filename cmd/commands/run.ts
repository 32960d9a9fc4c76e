/** `chaperone run`: the sidecar until a signal or the operator ends it. */
import { systemClock } from '../../lib/base/clock.ts';
import { type Level, logger, type Logger, terminalStream } from '../../lib/telemetry/logger.ts';
import { Fault } from '../../lib/base/fault.ts';
import { ignore } from '../../lib/base/signal.ts';
import { compose } from '../compose.ts';
import type { Io } from '../io.ts';
import { endAfter, endSoon } from '../ending.ts';
import { processSignals } from '../signals.ts';

/** Past `drain`, and past a second signal, this is the end of everything, whatever hangs. */
const LAST_MS = 900;
const AGAIN = 75;

export async function run(paths: readonly string[], io: Io): Promise<void> {
  try {
    await untilTheEnd(paths, io);
  } finally {
    endSoon();
  }
}

async function untilTheEnd(paths: readonly string[], io: Io): Promise<void> {
  let hangUp = (): void => {};
  using signals = processSignals(() => hangUp());
  const options = {
    paths,
    env: io.env,
    clock: systemClock,
    logger: (level: Level) => processLogger(levelOf(level, io), io),
  };
  const composed = compose(options);
  const started = await Promise.race([composed, signals.stop]);
  // Nothing was accepted yet, so there is nothing to wait for.
  if (typeof started === 'string') return ignore(composed, 'the process ends');
  await using sidecar = started;
  hangUp = () => void sidecar.reload();
  const failed = await Promise.race([signals.stop, sidecar.quit, sidecar.failed]);
  endAfter(sidecar.drainTime + LAST_MS, AGAIN);
  const forced = signals.force.then(() => {
    endAfter(LAST_MS, AGAIN);
    throw new Fault('aborted', 'stopped by a second signal before everything had ended');
  });
  await Promise.race([sidecar.drain(), forced]);
  if (failed instanceof Fault) throw failed;
}

/** `--quiet` takes away what is no warning, `--verbose` nothing. */
function levelOf(level: Level, { detail }: Io): Level {
  if (detail === 'verbose') return 'debug';
  return detail === 'quiet' && level !== 'error' ? 'warn' : level;
}

/** Lines that a reader of standard error may leave unread; more are counted and left out. */
const MAX_UNREAD_BYTES = 262_144;

/** Lines on standard error: pretty on a terminal, JSON elsewhere. */
function processLogger(level: Level, io: Io): Logger {
  // Whoever reads the log may go away; that must not end the sidecar.
  process.stderr.on('error', () => {});
  let left = 0;
  const write = (line: string): void => {
    if (process.stderr.writableLength > MAX_UNREAD_BYTES) {
      left += 1;
      return;
    }
    const told = left;
    left = 0;
    if (told > 0)
      lines.log('warn', 'log', `${told} lines were left out, as nobody read those before`);
    process.stderr.write(line);
  };
  const colour = (io.env['NO_COLOR'] ?? '') === '';
  const lines = logger(level, process.stderr.isTTY ? terminalStream(write, colour) : { write });
  return lines;
}
