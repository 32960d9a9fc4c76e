/** The process itself: its evidence, its end. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const ENDS = 'test/scenarios/ends-in-time-whatever-hangs.test.ts';
const OVER = 'test/scenarios/hands-everything-over.test.ts';

export const PROCESS: readonly Sabotage[] = [
  sabotage(
    'a sink that takes nothing has failed when its time is over',
    'lib/audit/log.ts',
    ['const cancel = clock.after(timeout, ', 'const cancel = clock.after(1_000_000, '],
    by(
      'test/audit/log.test.ts',
      'a sink that takes nothing fails its records in time, and those after at once, until it takes again',
    ),
  ),
  sabotage(
    'NUL bytes at the end of an evidence file are cut off',
    'lib/audit/incomplete-record.ts',
    ['const last = end.findLastIndex((byte) => byte !== 0);', 'const last = end.length - 1;'],
    by(
      'test/audit/log.test.ts',
      'NUL bytes that a machine left which went down are cut off, with the incomplete record before them',
    ),
  ),
  sabotage(
    'a second signal ends the process',
    'cmd/commands/run.ts',
    [
      '    endAfter(LAST_MS, AGAIN);\n    throw new Fault',
      '    if (paths.length > 99) throw new Fault',
    ],
    by(ENDS, 'a second signal ends it with 75, however long the drain is'),
  ),
  sabotage(
    'kept connections are answered once more where another process listens on',
    'lib/listen/listeners.ts',
    ['if (!listener.inherited) {', 'if (listener.last !== listener.stop) {'],
    by(
      'test/scenarios/hands-its-listeners-over.test.ts',
      'what is open at the old process goes on there until its drain ends',
    ),
  ),
  sabotage(
    'connections that are kept at shared pages are told that the answer is the last',
    'lib/api/pages.ts',
    ['if (where.fd === undefined) return;', 'if (where.fd !== -1) return;'],
    by(
      OVER,
      'with one document a process takes over all that listens under load, and no request fails',
    ),
  ),
  sabotage(
    'health that is shared is answered once the process can serve',
    'cmd/compose/foundation.ts',
    ['if (!health.shared) await', 'if (config.policy.generation > 0) await'],
    by(
      OVER,
      'with one document a process takes over all that listens under load, and no request fails',
    ),
  ),
  sabotage(
    'the sockets of tasks of a process that runs are left alone',
    'lib/api/agent-folder.ts',
    ['if (pid !== process.pid && isRunning(pid)) continue;', 'if (pid < 0) continue;'],
    by(
      OVER,
      'tasks stay with the process that opened them, which has a socket of its own while it drains',
    ),
  ),
  sabotage(
    'a thread that is held does not hold the process',
    'cmd/ending.ts',
    ["if (isThreadHeld()) process.kill(process.pid, 'SIGKILL');", 'isThreadHeld();'],
    by(
      ENDS,
      'a thread that is held, by a file that does not answer, is not waited for past the drain',
    ),
  ),
  sabotage(
    'what NO_PROXY keeps matches no destination',
    'cmd/no-proxy.ts',
    ['hosts.some((host) => mayMatch(entry, host))', 'hosts.length > 99'],
    by(
      'test/cmd/environment.test.ts',
      'an entry of NO_PROXY that any reader may take for a destination is left out',
    ),
  ),
];
