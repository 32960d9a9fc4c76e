/** What agents rest on in their client, and what keeps the operator's door from them. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const typescript = (title: string): ReturnType<typeof by> => by('test/clients/typescript.test.ts', title);

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
];
