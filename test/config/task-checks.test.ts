import t from 'tap';
import { TASK_CHECKS } from '../../lib/config/checks/tasks.ts';
import { destination, load, problemsOf, SIDECAR, taskPolicy } from './documents.ts';

const BARE = SIDECAR.replace('  defaults: { task: optional }\n', '');
const DOOR = '  agentApi: { socket: /run/chaperone/agent/api.sock }\n';
const OPERATOR = '  adminApi: { socket: /run/chaperone/admin/api.sock }\n';
const FORM = '  stepUp: [{ actions: [write] }]';

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
    'tasks-can-be-opened',
    [
      `${BARE}  log: {}\n`,
      destination('', 'a'),
      destination('  task: optional', 'b'),
      destination('', 'c'),
    ],
    [
      /^c\.yaml:11:3 spec: a task is required here, and nobody can open one; write agentApi .* or task: optional/,
      /^c\.yaml:28:3 spec: a task/,
    ],
    [`${BARE}${DOOR}`, destination(''), taskPolicy('')],
  ],
  [
    'a-purpose-has-one-task-policy',
    [SIDECAR, destination(''), taskPolicy('', 'one'), taskPolicy('', 'two')],
    [
      /purposes\[0\]: support is also a purpose of another TaskPolicy \(.*c\.yaml:\d+:1\); leave it to one/,
    ],
    [SIDECAR, destination(''), taskPolicy('', 'one'), taskPolicy('  purposes: [other]', 'two')],
  ],
  [
    'task-policies-name-destinations',
    [SIDECAR, destination(''), taskPolicy('  destinations: [crm, erp]')],
    [/spec\.destinations\[1\]: there is no Destination erp; known are crm/],
    [SIDECAR, destination(''), taskPolicy('  destinations: [crm]')],
  ],
  [
    'step-ups-can-be-answered',
    [
      `${SIDECAR}${DOOR}`,
      destination(''),
      taskPolicy(
        '  stepUp:\n    - { actions: [write, admin] }\n    - { actions: [write], ' +
          'approvers: [webhook] }\n    - { actions: [execute], approvers: [policy] }',
      ),
    ],
    [
      /stepUp\[0\]\.approvers: an operator has no door to approve at; write adminApi/,
      /stepUp\[1\]\.actions: write has a step-up already/,
      /stepUp\[1\]\.approvers: there is no webhook; write tasks\.webhook/,
    ],
    [`${SIDECAR}${DOOR}${OPERATOR}`, destination(''), taskPolicy(FORM)],
  ],
  [
    'what-is-approved-is-read',
    [
      `${SIDECAR}${OPERATOR}`,
      destination(`  upstream: { address: '127.0.0.1:9' }\n  protocol: tcp`),
      destination(
        '  rules: [{ name: ws, effect: allow, action: write, http: { websocket: true } }]',
        'b',
      ),
      destination(
        '  protocol: grpc\n  rules: [{ name: all, effect: allow, action: execute, grpc: { ' +
          'streaming: true } }]',
        'c',
      ),
      taskPolicy(
        '  destinations: [crm, b, c]\n  stepUp:\n    - { actions: [admin] }\n    - { ' +
          'actions: [write], bound: false }\n    - { actions: [execute], uncounted: true }',
      ),
    ],
    [
      /stepUp\[0\]: action admin is a connection at destination crm: nobody can be shown .*; write bound: false/,
      /stepUp\[1\]: action write is a WebSocket by rule ws of destination b: /,
      /stepUp\[2\]: action execute is streaming gRPC calls by rule all of destination c: /,
    ],
    [
      `${SIDECAR}${OPERATOR}`,
      destination(`  upstream: { address: '127.0.0.1:9' }\n  protocol: tcp`),
      destination('  rules: [{ name: w, effect: allow, action: write, http: {} }]', 'b'),
      destination(
        '  protocol: grpc\n  rules: [{ name: all, effect: allow, action: execute, grpc: {} }]',
        'c',
      ),
      taskPolicy(
        '  destinations: [crm, b, c]\n  stepUp:\n    - { actions: [admin], bound: false, ' +
          'uncounted: true }\n    - { actions: [write, execute] }',
      ),
    ],
  ],
  [
    'quotas-outlive-a-restart',
    [`${SIDECAR}${DOOR}`, destination(''), taskPolicy('  quotas: { tasks: 20/h, calls: 500/h }')],
    [
      /spec\.quotas: after a restart nobody would know what was counted; write stateDir in the Sidecar/,
    ],
    [
      `${SIDECAR}${DOOR}${OPERATOR}`,
      destination(''),
      taskPolicy('  quotas: { tasks: 20/h, calls: 500/h }'),
    ],
  ],
];

for (const [name, wrong, messages, right] of CASES) {
  t.test(name, async (t) => {
    const problems = await problemsOf(t, ...wrong);
    t.match(problems, messages);
    t.equal(problems.length, messages.length, problems.join('\n'));
    t.same(await problemsOf(t, ...right), [], 'the neighbour passes');
  });
}

t.test(
  'a condition over what was done before does not load where a restart would forget it',
  async (t) => {
    const over = (when: string): string =>
      destination(`  rules: [{ name: r, effect: allow, action: read, http: {}, when: '${when}' }]`);
    for (const when of [
      'rank(task.read) < rank("internal")',
      '!("admin" in task.actions)',
      'has(task.wrote) && task . wrote == "none"',
      'task.destinations.exists(one, one == "crm")',
    ]) {
      const problems = await problemsOf(t, `${SIDECAR}${DOOR}`, over(when));
      t.match(
        problems,
        [/spec\.rules\[0\]\.when: it reads the history of tasks, .*; write stateDir/],
        when,
      );
      t.same(await problemsOf(t, `${SIDECAR}${OPERATOR}`, over(when)), []);
      t.same(await problemsOf(t, `${SIDECAR}  stateDir: /run/chaperone/state\n`, over(when)), []);
    }
    for (const when of ['task.uses < 5', 'request.path == "task.read"', 'task.purpose == "read"'])
      t.same(await problemsOf(t, SIDECAR, over(when)), [], when);
  },
);

t.test('every check has a case here, and a sentence', async (t) => {
  t.same(CASES.map(([name]) => name).sort(), TASK_CHECKS.map(({ name }) => name).sort());
  for (const { name, doc } of TASK_CHECKS) t.match(doc, /^[A-Z`].{20,}\.$/, name);
});

t.test('a key that was renamed is refused with the name that it has now', async (t) => {
  const old = '  uses: 5\n  open: 2\n  stepUp: [{ actions: [write], lasts: 60s, uses: 1 }]';
  t.match(await problemsOf(t, `${SIDECAR}${OPERATOR}`, destination(''), taskPolicy(old)), [
    /spec\.uses: uses is called maxCalls now; write maxCalls$/,
    /spec\.open: open is called maxOpenTasks now; write maxOpenTasks$/,
    /spec\.stepUp\[0\]\.lasts: lasts is called ttl now; write ttl$/,
    /spec\.stepUp\[0\]\.uses: uses is called maxCalls now; write maxCalls$/,
  ]);
  const field = taskPolicy(`  when: 'intent.uses < 5'\n${FORM}`);
  t.match(await problemsOf(t, `${SIDECAR}${OPERATOR}`, destination(''), field), [
    /uses is called maxCalls now; see docs/,
  ]);
});

t.test('a task policy arrives with its defaults, by each of its purposes', async (t) => {
  const { policy } = await load(
    t,
    `${SIDECAR}${OPERATOR}`,
    destination(''),
    taskPolicy(`  purposes: [support, triage]\n${FORM}`),
  );
  const rule = policy.taskPolicies.get('triage');
  t.equal(rule, policy.taskPolicies.get('support'));
  t.match(rule, {
    name: 'support',
    lifetime: 900_000,
    maxCalls: 10_000,
    maxOpenTasks: 64,
    depth: 0,
    isolated: false,
    owners: undefined,
  });
  t.match(rule?.stepUp, [
    {
      actions: new Set(['write']),
      approvers: new Set(['operator']),
      ttl: 60_000,
      maxCalls: 1,
      bound: true,
      maxBody: 65_536,
    },
  ]);
  t.same(rule?.quotas, {});
  const more =
    '  quotas: { calls: 5/m }\n  stepUp: [{ actions: [write], bound: false, uncounted: ' +
    'true, maxBody: 1MiB }]';
  const loaded = await load(t, `${SIDECAR}${OPERATOR}`, destination(''), taskPolicy(more));
  const other = loaded.policy.taskPolicies.get('support');
  t.match(other?.quotas, { calls: { count: 5, per: 60_000, text: '5/m' } });
  t.match(other?.stepUp, [{ maxCalls: Infinity, bound: false, maxBody: 1_048_576 }]);
  t.match(
    await problemsOf(
      t,
      `${SIDECAR}${OPERATOR}`,
      destination(''),
      taskPolicy('  stepUp: [{ actions: [write], maxBody: 2MiB }]'),
    ),
    [/maxBody: more than 1MiB/],
  );
});

t.test('a task is required unless it says otherwise', async (t) => {
  const { policy } = await load(
    t,
    `${BARE}${DOOR}`,
    destination(''),
    destination('  task: optional', 'b'),
    taskPolicy(''),
  );
  t.same(
    policy.destinations.map(({ task }) => task),
    ['required', 'optional'],
  );
});

t.test('the condition of a task policy is type-checked when it is loaded', async (t) => {
  const good = [
    SIDECAR,
    destination(''),
    taskPolicy('  when: intent.lifetime < 600 && intent.time.getHours() < 18'),
  ];
  t.same(await problemsOf(t, ...good), []);
  t.match((await load(t, ...good)).policy.taskPolicies.get('support')?.when?.text, /lifetime/);
  for (const [text, message] of [
    ['intent.lifetme < 600', /spec\.when: .*lifetme/],
    ['intent.lifetime', /spec\.when: .*bool/],
    ['request.path == "/"', /spec\.when: .*request/],
  ] as const)
    t.match(await problemsOf(t, SIDECAR, destination(''), taskPolicy(`  when: ${text}`)), [
      message,
    ]);
});
