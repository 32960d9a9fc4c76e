/**
 * What systemd is told of us (sd_notify(3)): READY=1 once `/readyz` is 200, STOPPING=1 when the
 * drain begins. NOTIFY_SOCKET is a datagram socket, which the engine has none of, so the program
 * `systemd-notify` of systemd says it: the unit needs NotifyAccess=all. A reload is not told.
 */
import { execFile } from 'node:child_process';
import type { Disposer } from '../../lib/base/dispose.ts';
import type { Parts } from './parts.ts';

export interface Supervisor {
  stopping(): void;
}

const PROGRAM = 'systemd-notify';
/** How often readiness is looked at, in milliseconds. */
const LOOK_MS = 100;
/** For the program to be done. */
const MAX_MS = 5_000;

/** Without NOTIFY_SOCKET nobody is told. */
export function supervisor(
  env: NodeJS.ProcessEnv,
  { clock, readiness, log }: Parts,
  opened: Disposer,
): Supervisor {
  if ((env['NOTIFY_SOCKET'] ?? '') === '') return { stopping: () => {} };
  const tell = (...lines: readonly string[]): void => {
    // Not `--pid`: who the main process is systemd knows.
    execFile(PROGRAM, lines, { env, timeout: MAX_MS }, (failure) => {
      if (failure === null) return;
      const hint = `is ${PROGRAM} there, and does the unit say NotifyAccess=all?`;
      log.log(
        'warn',
        'supervisor',
        `${lines.join(' ')} could not be told: ${failure.message.trim()}`,
        { hint },
      );
    });
  };
  let cancel = (): void => {};
  const look = (): void => {
    if (readiness.report().ready) tell('READY=1', 'STATUS=ready');
    else cancel = clock.after(LOOK_MS, look);
  };
  look();
  opened.defer(() => cancel());
  return {
    stopping() {
      cancel();
      tell('STOPPING=1', 'STATUS=draining');
    },
  };
}
