/** The examples that need Node alone; those in Python are in test/interop. */
import { join, resolve } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../lib/config/load/load.ts';
import { EXAMPLES } from './documents.ts';
import { tell } from './story.ts';

t.setTimeout(600_000);

t.test('the configuration of the examples loads as it stands', async (t) => {
  const { policy, sidecar } = await loadConfig([join(EXAMPLES, 'chaperone.yaml')], {
    generation: 1,
  });
  t.same(
    policy.destinations.map(({ name }) => name),
    ['crm'],
  );
  t.equal(sidecar.agentApi?.socket, '/tmp/chaperone/agent/api.sock');
});

t.test('the plain loop in TypeScript reads, is refused, asks, writes once, and stops', (t) =>
  tell(t, [process.execPath, resolve(EXAMPLES, 'typescript/agent.ts')]),
);
