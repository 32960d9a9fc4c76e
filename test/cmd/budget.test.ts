import t from 'tap';
import { budgetOf, openFiles } from '../../cmd/compose/budget.ts';

const MEANS = { agents: 2, connections: 4096, files: undefined, memory: undefined };

t.test('without known limits each agent has what the document says', async (t) => {
  t.match(budgetOf(MEANS), {
    share: { connections: 4096, exchanges: 8192, sockets: 1024 },
    api: 256,
    reduced: undefined,
  });
});

t.test(
  'what all shares may open together stays below the limit of open files, whatever it is',
  async (t) => {
    for (const files of [160, 256, 1024, 4096, 65_536, 1_048_576]) {
      for (const agents of [1, 2, 5]) {
        if (files < 96 + 16 * (agents + 1)) continue;
        const { share, api, idle, reduced } = budgetOf({ ...MEANS, agents, files });
        const each = share.connections + share.exchanges + share.sockets + api;
        t.ok(each * (agents + 1) + idle + 64 <= files, `${files} ${agents}`);
        t.ok(share.connections >= 1);
        t.equal(reduced !== undefined, share.connections < 4096);
      }
    }
    t.match(
      budgetOf({ ...MEANS, files: 1024 }).reduced,
      /open files \(1024\) allows 58 connections of each agent, not 4096/,
    );
  },
);

t.test(
  'too few open files for anything are said at once, with the number that would do',
  async (t) => {
    t.throws(() => budgetOf({ ...MEANS, files: 100 }), {
      code: 'usage',
      hint: /raise it to 144 or more/,
    });
    t.doesNotThrow(() => budgetOf({ ...MEANS, files: 144 }));
  },
);

t.test(
  'half-read messages of all agents take a part of the memory of the container, in equal shares',
  async (t) => {
    t.equal(budgetOf(MEANS).share.held, Math.floor(67_108_864 / 3));
    t.equal(
      budgetOf({ ...MEANS, memory: 134_217_728 }).share.held,
      Math.floor(134_217_728 / 8 / 3),
    );
  },
);

t.test(
  'the limit of open files is that of this process',
  { skip: process.platform !== 'linux' },
  async (t) => {
    t.ok((openFiles() ?? 0) > 64);
  },
);
