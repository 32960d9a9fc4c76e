/** What agents rest on in their client, and what keeps the operator's door from them. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const typescript = (title: string): ReturnType<typeof by> => by('test/clients/typescript.test.ts', title);

const relay = (title: string): ReturnType<typeof by> => by('test/cmd/relay.test.ts', title);

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
    typescript('a kept connection that is closed as it is taken costs no call that may be asked twice'),
  ),
  sabotage(
    'the relay of task run takes the connections of programs below it alone',
    'cmd/relay/owner.ts',
    ['inode !== undefined && descendants(root).some((pid) => holds(pid, inode))', 'inode !== undefined'],
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
];
