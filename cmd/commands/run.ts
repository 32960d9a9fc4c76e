/** `chaperone run`: the sidecar until a signal or the operator ends it. */
import { systemClock } from '../../lib/base/clock.ts';
import { type Level, logger, type Logger, terminalStream } from '../../lib/admin/logger.ts';
import { Fault } from '../../lib/base/fault.ts';
import { formatAuthority } from '../../lib/policy/authority.ts';
import { compose, type Sidecar } from '../compose.ts';
import type { Io } from '../io.ts';
import { processSignals } from '../signals.ts';

export async function run(paths: readonly string[], io: Io): Promise<void> {
  let hangUp = (): void => {};
  using signals = processSignals(() => hangUp());
  const options = { paths, env: io.env, clock: systemClock, logger: (level: Level) => processLogger(level, io) };
  await using sidecar = await compose(options);
  hangUp = () => void sidecar.reload();
  io.err(addressLine(sidecar));
  const failed = await Promise.race([signals.stop, sidecar.quit, sidecar.failed]);
  const forced = signals.force.then(() => {
    throw new Fault('aborted', 'stopped by a second signal before everything had ended');
  });
  await Promise.race([sidecar.drain(), forced]);
  if (failed instanceof Fault) throw failed;
}

/** Lines on standard error: pretty on a terminal, JSON elsewhere. */
function processLogger(level: Level, io: Io): Logger {
  // Whoever reads the log may go away; that must not end the sidecar.
  process.stderr.on('error', () => {});
  const write = (line: string): void => void process.stderr.write(line);
  const colour = (io.env['NO_COLOR'] ?? '') === '';
  return logger(level, process.stderr.isTTY ? terminalStream(write, colour) : { write });
}

function addressLine({ addresses }: Sidecar): string {
  const list = [...addresses].map(([name, { address, port }]) => `${name} ${formatAuthority(address, port)}`);
  return `chaperone: listening: ${list.join(', ')}`;
}
