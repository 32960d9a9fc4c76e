import t from 'tap';
import { AGENT_CHECKS } from '../../lib/config/checks/agents.ts';
import { destination, load, problemsOf, SIDECAR, taskPolicy } from './documents.ts';

const DOOR = '  agentApi: { socket: /run/chaperone/agent/api.sock }\n';
const OPERATOR = '  adminApi: { socket: /run/chaperone/admin/api.sock }\n';
const agents = (...lines: readonly string[]): string =>
  `  agents:\n${lines.map((line) => `    - { ${line} }\n`).join('')}`;
const TWO = agents('name: a, folder: /run/a', 'name: b, folder: /run/b');

/**
 * Name of the check, documents that it refuses, what it says, and documents next to them that pass.
 */
const CASES: readonly (readonly [
  string,
  readonly string[],
  readonly RegExp[],
  readonly string[],
])[] = [
  [
    'the-doors-are-apart',
    [
      `${SIDECAR}${OPERATOR}  agentApi: { socket: /run/chaperone/admin/agent/a.sock, tcp: ` +
        `{ address: '0.0.0.0:1', tokenFile: x } }\n`,
    ],
    [
      /agentApi\.socket: the agent would reach the operator’s door/,
      /agentApi\.tcp\.address: others than the agent could reach this address/,
    ],
    [`${SIDECAR}${OPERATOR}${DOOR}`],
  ],
  [
    'the-doors-are-apart',
    [
      `${SIDECAR}${OPERATOR}${agents('name: a, folder: /run/chaperone', 'name: b, folder: /run/chaperone/b')}`,
    ],
    [
      /agents\[0\]\.folder: agent a would reach the operator’s door/,
      /agents\[1\]\.folder: agent b would reach agent a/,
    ],
    [`${SIDECAR}${OPERATOR}${TWO}`],
  ],
  [
    'one-form-of-agents',
    [
      `${SIDECAR}${TWO}  agentApi: { socket: /run/c/a.sock, tcp: { address: '127.0.0.1:1', ` +
        `tokenFile: x } }\n`,
    ],
    [/agentApi: agents is there too, .*; remove agentApi: a port tells agents apart by nothing/],
    [`${SIDECAR}${DOOR}`],
  ],
  [
    'all-agents-have-an-identity-or-none-has',
    [
      `${SIDECAR}${agents('name: a, folder: /run/a, identity: { hint: a }', 'name: b, folder: /run/b')}`,
    ],
    [/agents\[1\]: agent b has no identity, and others have/],
    [
      `${SIDECAR}${agents(
        'name: a, folder: /run/a, identity: { hint: a }',
        'name: b, folder: /run/b, identity: { spiffeId: "spiffe://example.org/b" }',
      )}`,
    ],
  ],
  [
    'task-policies-name-agents',
    [
      `${SIDECAR}${agents('name: a, folder: /run/a, purposes: [support, triage]', 'name: b, folder: /run/b')}`,
      destination(''),
      taskPolicy('  agents: [b, c]'),
    ],
    [
      /agents\[1\]: the Sidecar document has no agent c; known are a, b/,
      /purposes\[0\]: task policy support, which has purpose support, does not let agent a/,
      /purposes\[1\]: triage is no purpose of a TaskPolicy/,
    ],
    [
      `${SIDECAR}${agents('name: a, folder: /run/a, purposes: [support]', 'name: b, folder: /run/b')}`,
      destination(''),
      taskPolicy('  agents: [a]'),
    ],
  ],
  [
    'sockets-of-tasks-fit',
    [
      `${SIDECAR}${agents(`name: a, folder: /run/${'x'.repeat(80)}`)}`,
      destination('  listen: 127.0.0.1:0', 'a-destination'),
    ],
    [
      /agents\[0\]\.folder: the path of a task’s socket for destination a-destination would be longer than 107 bytes/,
    ],
    [
      `${SIDECAR}${agents(`name: a, folder: /run/${'x'.repeat(80)}`)}`,
      destination('', 'a-destination'),
    ],
  ],
];

for (const [name, wrong, messages, right] of CASES) {
  t.test(name, async (t) => {
    const problems = await problemsOf(t, ...wrong);
    t.match(
      problems.toSorted(),
      messages.toSorted((a, b) => (a.source < b.source ? -1 : 1)),
      problems.join('\n'),
    );
    t.equal(problems.length, messages.length, problems.join('\n'));
    t.same(await problemsOf(t, ...right), [], 'the neighbour passes');
  });
}

t.test('every check has a case here, and a sentence', async (t) => {
  t.same(
    [...new Set(CASES.map(([name]) => name))].sort(),
    AGENT_CHECKS.map(({ name }) => name).sort(),
  );
  for (const { doc } of AGENT_CHECKS) t.match(doc, /^[A-Z`].{20,}\.$/, doc);
});

t.test(
  'an agent arrives with its folder, and the short form is one agent with the name of the document',
  async (t) => {
    const home = {
      socket: '/run/a/api.sock',
      folder: '/run/a',
      forward: true,
      mode: 0o660,
      group: 'staff',
    };
    const several = await load(
      t,
      `${SIDECAR}${agents('name: a, folder: /run/a, group: staff, identity: { hint: x }')}`,
    );
    t.match(several.sidecar.agents, [
      { name: 'a', purposes: undefined, identity: { hint: 'x' }, home },
    ]);
    const short = await load(t, `${SIDECAR}${DOOR}`);
    const beside = {
      socket: '/run/chaperone/agent/api.sock',
      folder: '/run/chaperone/agent/api.sock.d',
    };
    t.match(short.sidecar.agents, [
      { name: 'agent', identity: undefined, home: { ...beside, forward: false } },
    ]);
    t.match((await load(t, SIDECAR)).sidecar.agents, [{ name: 'agent', home: undefined }]);
  },
);

t.test('the words of an agent are held to their grammar', async (t) => {
  for (const [line, message] of [
    ['name: unknown, folder: /run/a', /unknown stands for what is nobody's/],
    ['name: a, folder: run/a', /not a plain absolute path/],
    ['name: a, folder: /run/../a', /not a plain absolute path/],
    ["name: a, folder: /run/a, group: 'a b'", /is not a group/],
    ['name: a, folder: /run/a, identity: {}', /goes out with one SVID/],
    ["name: a, folder: /run/a, mode: '0666'", /0600, 0660/],
  ] as const)
    t.match(await problemsOf(t, `${SIDECAR}${agents(line)}`), [message], line);
  t.match(
    await problemsOf(
      t,
      `${SIDECAR}${agents('name: a, folder: /run/a', 'name: a, folder: /run/b')}`,
    ),
    [/twice/],
  );
});
