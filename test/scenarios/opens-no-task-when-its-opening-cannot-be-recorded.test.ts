import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { apiClient } from '../../cmd/api-client.ts';
import { until } from '../support/until.ts';
import { crm, testSidecar, type TestSidecar } from '../support/sidecar.ts';

const POLICY = `---
apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: support }
spec: { purposes: [support], destinations: [crm], actions: [read], dataClasses: [internal] }
`;

async function room(more: string, sinks: string): Promise<TestSidecar> {
  return testSidecar({ sinks, more, destinations: (api) => `${crm(api)}${POLICY}` });
}

t.test(
  'opens no task when its opening cannot be recorded, unless the documents say that it goes on without evidence (R5)',
  { skip: !existsSync('/dev/full') && 'this system has no /dev/full' },
  async (t) => {
    const body = { purpose: 'support', owner: 'alice', targets: ['crm'], actions: ['read'] };
    for (const [onFailure, opens] of [
      ['deny', false],
      ['continue', true],
    ] as const) {
      const sinks = `[{ file: '/dev/full' }], onFailure: ${onFailure}`;
      await using s = await room('', sinks);
      const client = apiClient(join(s.folder, 'admin', 'api.sock'));
      const open = client.ask({ method: 'POST', path: '/v1/tasks', body });
      if (opens) t.match(await open, { state: 'open' });
      else
        await t.rejects(open, {
          code: 'audit-unavailable',
          message: /could not be recorded.*ENOSPC/,
        });
      await until('what was not handed out has ended', async () => {
        const { tasks } = Object(await client.ask({ method: 'GET', path: '/v1/tasks' }));
        return tasks.length === (opens ? 1 : 0);
      });
    }
  },
);
