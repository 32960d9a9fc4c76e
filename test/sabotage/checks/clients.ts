/** What agents rest on in their client, and what keeps the operator's door from them. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const typescript = (title: string): ReturnType<typeof by> =>
  by('test/clients/typescript.test.ts', title);

const relay = (title: string): ReturnType<typeof by> => by('test/cmd/relay.test.ts', title);
const messages = (title: string): ReturnType<typeof by> => by('test/cmd/messages.test.ts', title);

export const CLIENTS: readonly Sabotage[] = [
  sabotage(
    'no upstream is taken for the sidecar',
    'clients/typescript/errors.ts',
    ['error?.decision !== decision', 'error === undefined'],
    typescript('an upstream that words its answer as a refusal is not taken for the sidecar'),
  ),
  sabotage(
    'a task of the client is held by its process',
    'clients/typescript/client.ts',
    ['...intent, hold: options.hold ?? true', '...intent, hold: options.hold ?? false'],
    typescript('a process that is killed, or that forgets its task, leaves no task behind'),
  ),
  sabotage(
    'a write is not asked twice',
    'clients/typescript/through.ts',
    ['stale && body === undefined && SAFE.has(asked.method)', 'stale'],
    typescript(
      'a kept connection that is closed as it is taken costs no call that may be asked twice',
    ),
  ),
  sabotage(
    'the relay of task run takes the connections of programs below it alone',
    'cmd/relay/owner.ts',
    [
      'inode !== undefined && descendants(root).some((pid) => holds(pid, inode))',
      'inode !== undefined',
    ],
    relay('not one byte of a process outside the tree is passed on, and it is told why'),
  ),
  sabotage(
    'what cannot be shown to be of a program below task run is refused',
    'cmd/relay/relay.ts',
    ['if (heldBelow(root, socket)) agents', 'if (!heldBelow(-1, socket)) agents'],
    relay('the root itself, and an orphan that init took, are not shown to be below it'),
  ),
  sabotage(
    'a connection that was reset is not lent the socket that has its port now',
    'cmd/relay/owner.ts',
    ['own === undefined || !isOf(socket, own.inode)', 'own === undefined'],
    relay('a connection that was reset is not its who has its port now'),
  ),
  sabotage(
    'a configuration without a destination is no sound one to --strict',
    'cmd/commands/check.ts',
    ['policy.destinations.length > 0', 'policy.destinations.length >= 0'],
    messages('a configuration without a destination is warned of, and by --strict refused'),
  ),
  sabotage(
    'warnings are problems to check --strict',
    'cmd/commands/check.ts',
    ['if (strict && warnings.length > 0)', 'if (strict && warnings.length < 0)'],
    messages('a configuration without a destination is warned of, and by --strict refused'),
  ),
  sabotage(
    'a change that opens a path does not pass a pipeline',
    'cmd/commands/paths.ts',
    ['if (opened.length > 0) process.exitCode', 'if (opened.length < 0) process.exitCode'],
    by(
      'test/cmd/paths.test.ts',
      'a change that opens paths exits 1 and says which; one that closes some exits 0',
    ),
  ),
  sabotage(
    'init never writes over a file',
    'cmd/commands/init.ts',
    ["STARTER, { flag: 'wx'", "STARTER, { flag: 'w'"],
    by(
      'test/cmd/commands.test.ts',
      'init writes a configuration that check passes, and never over a file',
    ),
  ),
  sabotage(
    'task run passes on what uses a task, and not what extends it',
    'cmd/commands/task-run.ts',
    ['[AGENT_API]: socket }', '[AGENT_API]: socket, CHAPERONE_TASK_AUTHORIZATION: authorization }'],
    by(
      'test/cmd/task.test.ts',
      'task run joins the environment that it was called in, and tells what it leaves out',
    ),
  ),
];
