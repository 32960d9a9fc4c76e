/** The folder of an agent as it is made ready at start. */
import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { agentHome } from '../../lib/api/agent-folder.ts';
import type { AgentHome } from '../../lib/config/load/agents.ts';
import { shortFolder } from '../support/folder.ts';

function homeIn(folder: string, more: Partial<AgentHome> = {}): AgentHome {
  return {
    socket: join(folder, 'api.sock'),
    folder,
    forward: true,
    mode: 0o660,
    group: undefined,
    ...more,
  };
}

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

t.test(
  'the folder is made, closed to others, and what a process left of its tasks is gone',
  async (t) => {
    const folder = join(shortFolder(t), 'agents', 'a');
    mkdirSync(join(folder, 'tasks', '1'), { recursive: true });
    chmodSync(folder, 0o777);
    writeFileSync(join(folder, 'tasks', '1', 'old'), '');
    writeFileSync(join(folder, 'notes'), 'precious');
    await using home = await agentHome(homeIn(folder));
    t.equal(home.forward, join(folder, 'forward.sock'));
    t.same([folder, home.tasks].map(modeOf), ['750', '750']);
    t.equal(statSync(join(folder, 'notes')).size, 8);
    t.throws(() => statSync(join(folder, 'tasks', '1')), { code: 'ENOENT' });
  },
);

t.test('with mode 0600 the folder is the user’s alone', async (t) => {
  const folder = join(shortFolder(t), 'a');
  await using home = await agentHome(homeIn(folder, { mode: 0o600 }));
  t.same([folder, home.tasks].map(modeOf), ['700', '700']);
});

t.test('a folder that is somebody else’s, or none, is refused', async (t) => {
  const root = shortFolder(t);
  mkdirSync(join(root, 'real'));
  symlinkSync(join(root, 'real'), join(root, 'link'));
  await t.rejects(agentHome(homeIn(join(root, 'link'))), {
    code: 'listen',
    message: /is no folder/,
  });
  if (process.getuid?.() !== 0) return;
  const other = join(root, 'other');
  mkdirSync(other);
  chownSync(other, 4242, 4242);
  await t.rejects(agentHome(homeIn(other)), { code: 'listen', message: /belongs to user 4242/ });
});

t.test('the folder and what is made in it belong to the group that is named', async (t) => {
  const folder = join(shortFolder(t), 'a');
  const nobody = homeIn(folder, { group: 'no-such-group-here' });
  await t.rejects(agentHome(nobody), { code: 'listen', message: /no group no-such-group-here/ });
  if (process.getuid?.() !== 0) return;
  await using home = await agentHome(homeIn(folder, { group: '4242' }));
  t.same(
    [folder, home.tasks].map((path) => statSync(path).gid),
    [4242, 4242],
  );
});
