import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { apiClient, textOf } from '../../cmd/api-client.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';
import { testSidecarProcess, noProc } from '../support/sidecar-process.ts';
import { crm } from '../support/sidecar.ts';
import t from 'tap';

const POLICY = `---
apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: support }
spec: { purposes: [support], destinations: [crm], actions: [read], dataClasses: [internal] }
`;
const BODY = { purpose: 'support', owner: 'alice', targets: ['crm'], actions: ['read'] };

t.test(
  'ends every task when it stops, killed or told to, and knows none after: their credentials are 407, never no task',
  { skip: noProc },
  async (t) => {
    const socket = join(shortFolder(t), 'agent', 'a.sock');
    await using s = await testSidecarProcess({
      more: `  agentApi: { socket: '${socket}' }\n`,
      destinations: (api) => `${crm(api)}${POLICY}`,
    });
    const open = async (): Promise<{ readonly id: string; readonly credentials: string }> => {
      const opened = await apiClient(socket).ask({ method: 'POST', path: '/v1/tasks', body: BODY });
      return { id: textOf(opened, 'id'), credentials: textOf(opened, 'credentials') };
    };
    const get = async (credentials: string): Promise<string> => {
      const line = await s.open();
      line.write(
        `GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: ` +
          `crm.internal\r\nProxy-Authorization: ${credentials}\r\nConnection: close\r\n\r\n`,
      );
      return line.ended();
    };
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const [one, other] = [await open(), await open()];
      t.equal(statusOf(await get(one.credentials)), 200);
      using held = await apiClient(socket).lines({
        method: 'POST',
        path: '/v1/tasks',
        body: { ...BODY, hold: true },
      });
      const lines = held[Symbol.asyncIterator]();
      t.match((await lines.next()).value, { state: 'open' });
      s.sidecar.child.kill(signal);
      await s.restart();
      if (signal === 'SIGTERM') {
        const ended = s
          .records()
          .filter(({ kind, event }) => kind === 'task' && event === 'revoked');
        t.same(ended.length, 3, 'each has its end in the evidence');
        t.match(
          ended.find(({ task }) => task === one.id),
          { detail: { why: 'the sidecar is stopping', uses: 1 } },
        );
      }
      for (const { credentials } of [one, other]) {
        const answer = await get(credentials);
        t.equal(statusOf(answer), 407);
        t.match(refusal(answer), { code: 'task-unknown', message: /the sidecar was started anew/ });
      }
      await until('the door is open again', () => existsSync(socket));
    }
  },
);
