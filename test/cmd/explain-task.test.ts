import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { destination, folder, SIDECAR } from '../config/documents.ts';
import { chaperone } from '../support/program.ts';

const TASKS =
  `${SIDECAR}  agentApi: { socket: /run/chaperone/agent/api.sock }\n  adminApi: { socket: ` +
  `/run/chaperone/admin/api.sock }\n`;
const POLICY = `apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: triage }
spec:
  purposes: [triage]
  destinations: [crm]
  actions: [read]
  dataClasses: [restricted]
  stepUp: [{ actions: [write] }]
`;
const CRM = destination(`  task: required
  rules:
    - { name: read, effect: allow, action: read, http: { methods: [GET] } }
    - { name: write, effect: allow, action: write, http: { methods: [POST] } }
    - { name: admin, effect: allow, action: admin, http: { methods: [DELETE] } }`);

t.test('explain, paths and test know what tasks of a purpose may be granted', async (t) => {
  const path = folder(t);
  writeFileSync(join(path, 'c.yaml'), [TASKS, POLICY, CRM].join('---\n'));
  writeFileSync(
    join(path, 'c.test.yaml'),
    `apiVersion: chaperone.dev/v1alpha1
kind: PolicyTest
metadata: { name: triage }
spec:
  given: { task: { purpose: triage } }
  cases:
    - { name: read, request: GET http://crm.internal/, expect: { effect: allow, rule: read } }
    - { name: write waits, request: POST http://crm.internal/, expect: { effect: deny, code: step-up } }
    - name: write after an approval
      request: POST http://crm.internal/
      task: { purpose: triage, elevated: [write] }
      expect: { effect: allow, rule: write, action: write }
    - { name: admin never, request: DELETE http://crm.internal/, expect: { effect: deny, code: outside-grant } }
    - name: too many
      request: GET http://crm.internal/
      task: { purpose: triage, uses: 10000 }
      expect: { effect: deny, code: uses-spent }
`,
  );
  const tested = await chaperone(['test', '-c', path]);
  t.equal(tested.status, 0, tested.out + tested.err);
  const explained = async (...args: readonly string[]): Promise<string> =>
    (await chaperone(['explain', '-c', path, ...args])).out;
  t.match(await explained('GET', 'http://crm.internal/'), /deny \(task-required\)/);
  t.match(
    await explained('GET', 'http://crm.internal/', '--task', 'triage'),
    /allow \(allowed\): rule read/,
  );
  t.match(await explained('POST', 'http://crm.internal/', '--task', 'triage'), /deny \(step-up\)/);
  const { out } = await chaperone(['paths', '-c', path, '--json']);
  t.same(JSON.parse(out).paths, [], 'nothing leads to it: there is no listener');
});

t.test(
  'a path names the purposes that it may be taken for; one that none may is no path',
  async (t) => {
    const path = folder(t);
    writeFileSync(
      join(path, 'c.yaml'),
      [`${TASKS}  forward: { address: 127.0.0.1:15001 }\n`, POLICY, CRM].join('---\n'),
    );
    const { out } = await chaperone(['paths', '-c', path, '--json']);
    const paths: readonly { readonly rule: string; readonly purposes: readonly unknown[] }[] =
      JSON.parse(out).paths;
    t.same(
      paths.map(({ rule, purposes }) => [rule, purposes]),
      [
        ['read', [{ purpose: 'triage', stepUp: false }]],
        ['write', [{ purpose: 'triage', stepUp: true }]],
      ],
    );
    const wider = join(path, 'wider.yaml');
    writeFileSync(
      wider,
      [
        `${TASKS}  forward: { address: 127.0.0.1:15001 }\n`,
        POLICY.replace('actions: [read]', 'actions: [read, write]').replace(/ {2}stepUp.*\n/, ''),
        CRM,
      ].join('---\n'),
    );
    const opens = await chaperone(['paths', '--diff', join(path, 'c.yaml'), wider]);
    t.match(opens, {
      status: 1,
      out: /opens crm: write, POST .*: tasks for triage had no grant for it/,
    });
    t.match(await chaperone(['paths', '--diff', wider, join(path, 'c.yaml')]), { status: 0 });
  },
);
