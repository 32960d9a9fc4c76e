import fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import { readDocument } from '../../lib/config/documents/read.ts';
import { problems as collector } from '../../lib/schema/problem.ts';
import { parseYaml } from '../../lib/schema/yaml.ts';
import { decide } from '../../lib/policy/decision/decide.ts';
import { connection, request } from '../policy/destination.ts';
import { destination, folder, load, problemsIn, problemsOf, SIDECAR } from './documents.ts';

const FULL = `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: research-agent }
spec:
  identity:
    workloadApi: unix:///run/spire/agent-sockets/api.sock
    select: { hint: research }
    initialSync: 2m
  forward: { address: 127.0.0.1:15001 }
  adminApi: { socket: /run/chaperone/admin/api.sock }
  stateDir: state
  agentApi: { socket: /run/chaperone/agent/api.sock, mode: '0600', tcp: { address: 127.0.0.1:0, tokenFile: token } }
  tasks: { webhook: { url: 'https://approvals.example.org/x', secretFile: secret, timeout: 5s } }
  health: { address: 0.0.0.0:15021 }
  audit: { sinks: [{ file: audit.jsonl }, { stdout: true }], onFailure: continue }
  defaults: { task: optional, unlisted: report }
  listeners: { headersTimeout: 1s, idleTimeout: 2s, maxConnections: 3, maxHead: 4KiB, maxField: 3KiB,
    maxFields: 99, maxTarget: 1KiB, bodyTimeout: 7s, writeTimeout: 8s, connectionMaxAge: 5s,
    connectionIdle: 9s }
  drain: 6s
  log: { level: debug }
`;

t.test('every setting of the sidecar arrives', async (t) => {
  const path = folder(t);
  writeFileSync(join(path, 'c.yaml'), FULL);
  const { sidecar, policy, sources } = await loadConfig([path], { generation: 9 });
  t.same(sidecar, {
    name: 'research-agent',
    identity: {
      workloadApi: 'unix:///run/spire/agent-sockets/api.sock',
      select: { hint: 'research', spiffeId: undefined },
      initialSync: 120_000,
      onFinal: 'exit',
    },
    forward: { host: '127.0.0.1', port: 15001 },
    adminApi: { socket: '/run/chaperone/admin/api.sock' },
    stateDir: join(path, 'state'),
    agentApi: {
      socket: '/run/chaperone/agent/api.sock',
      mode: 0o600,
      tcp: { address: { host: '127.0.0.1', port: 0 }, tokenFile: join(path, 'token') },
    },
    agents: [
      {
        name: 'research-agent',
        purposes: undefined,
        identity: undefined,
        home: {
          socket: '/run/chaperone/agent/api.sock',
          folder: '/run/chaperone/agent/api.sock.d',
          forward: true,
          mode: 0o600,
          group: undefined,
        },
      },
    ],
    tasks: {
      webhook: {
        url: 'https://approvals.example.org/x',
        secretFile: join(path, 'secret'),
        timeout: 5000,
      },
    },
    health: { host: '0.0.0.0', port: 15021 },
    audit: {
      sinks: [
        { kind: 'file', value: join(path, 'audit.jsonl') },
        { kind: 'stdout', value: true },
      ],
      onFailure: 'continue',
      timeout: 5000,
      refusals: { count: 10, per: 1000, text: '10/s', burst: 500 },
    },
    defaults: { task: 'optional', unlisted: 'report' },
    maxStale: 600_000,
    resolver: 'dns',
    listeners: {
      headersTimeout: 1000,
      idleTimeout: 2000,
      maxConnections: 3,
      maxHead: 4096,
      maxField: 3072,
      maxFields: 99,
      maxTarget: 1024,
      bodyTimeout: 7000,
      writeTimeout: 8000,
      connectionMaxAge: 5000,
      connectionIdle: 9000,
    },
    drain: 6000,
    dataClasses: ['public', 'internal', 'confidential', 'restricted'],
    log: { level: 'debug' },
  });
  t.match(policy, { generation: 9, unlisted: 'report', destinations: [] });
  t.same(sources, [join(path, 'c.yaml')]);
});

t.test('what is not written has the safe default', async (t) => {
  const { sidecar, policy } = await load(t, SIDECAR, destination(''));
  t.match(sidecar, {
    forward: undefined,
    health: undefined,
    adminApi: undefined,
    stateDir: undefined,
    agentApi: undefined,
    tasks: { webhook: undefined },
    identity: { workloadApi: undefined, initialSync: 90_000 },
    audit: { sinks: [{ kind: 'stdout', value: true }], onFailure: 'deny' },
    defaults: { task: 'optional', unlisted: 'deny' },
    listeners: { headersTimeout: 10_000, maxHead: 32_768 },
    log: { level: 'info' },
  });
  const [crm] = policy.destinations;
  t.match(crm, {
    name: 'crm',
    service: { protocol: 'http', rules: [] },
    listen: undefined,
    upstream: undefined,
    cidrs: [],
    dataClass: 'restricted',
    task: 'optional',
    action: 'admin',
    mode: 'enforce',
    timeouts: { connect: 5000, headers: 600_000, message: 30_000, idle: 300_000, total: 3_600_000 },
    limits: { concurrent: 64, body: undefined },
    tls: {
      mode: 'mtls',
      serverName: undefined,
      roots: undefined,
      insecure: false,
      intercept: false,
    },
  });
  t.equal(decide(policy, request()).code, 'no-rule-matched', 'without rules everything is denied');
});

t.test('a destination arrives as policy and decides', async (t) => {
  const { policy } = await load(
    t,
    SIDECAR,
    destination(`  upstream: { address: crm.prod.svc:8443, cidrs: [10.96.0.0/12] }
  timeouts: { connect: 1s }
  limits: { concurrent: 2, body: 1MiB }
  dataClass: confidential
  rules:
    - { name: no-exports, effect: deny, http: { paths: [/v1/customers/export/**] } }
    - { name: read, effect: allow, action: read, http: { methods: [GET], paths: [/v1/customers/**] } }
    - { name: live, effect: allow, action: read, http: { paths: [/live], websocket: true } }`),
  );
  t.match(policy.byName.get('crm'), {
    upstream: { host: 'crm.prod.svc', port: 8443 },
    cidrs: ['10.96.0.0/12'],
    timeouts: { connect: 1000, headers: 600_000 },
    limits: { concurrent: 2, body: 1_048_576 },
    at: /c\.yaml:7:1$/,
  });
  const code = (path: string, websocket = false): string =>
    decide(policy, request({ path, websocket })).code;
  t.equal(code('/v1/customers/7'), 'allowed');
  t.equal(code('/v1/customers/export'), 'denied-by-rule');
  t.equal(code('/live', true), 'allowed');
  t.equal(code('/v1/customers/7', true), 'no-rule-matched');
});

t.test('what is loaded is frozen, all the way down', async (t) => {
  const { sidecar, policy, sources } = await load(
    t,
    FULL,
    destination('  rules: [{ name: a, effect: deny, http: { methods: [GET], paths: [/x] } }]'),
  );
  const loose: string[] = [];
  const visit = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null || value instanceof Map || value instanceof Set)
      return;
    if (!Object.isFrozen(value)) loose.push(path);
    for (const [key, inner] of Object.entries(value)) visit(inner, `${path}.${key}`);
  };
  visit({ sidecar, policy, sources }, '');
  t.same(loose, [''], 'but for the object that this test made');
});

t.test('every problem is named, with place, key, problem and fix', async (t) => {
  const problems = await problemsOf(
    t,
    FULL.replace('forward:', 'foward:')
      .replace('initialSync: 2m', 'initialSync: 2')
      .replace('onFailure: continue', 'onFailure: no'),
    destination(
      '  protcol: http\n  task: requird\n  retries: x\n  dataClass: none\n  rules: [{ ' +
        'name: a, effect: allow, action: read, http: { method: [GET] }, a2a: {} }]',
    ),
    'kind: TaskPolicy\napiVersion: chaperone.dev/v1alpha1\n',
    'kind: Destinaton\n',
    'just text\n',
    'apiVersion: v1\nkind: Sidecar\n',
  );
  t.match(problems, [
    /^c\.yaml:8:18 spec\.identity\.initialSync: 2 is a number, not text; write a duration such as 90s, in quotes/,
    /^c\.yaml:9:3 spec: unknown key "foward"; did you mean forward\?$/,
    /^c\.yaml:15:\d+ spec\.audit\.onFailure: no without quotes is a boolean to some readers of YAML; put it in/,
    /^c\.yaml:30:3 spec: unknown key "protcol"; did you mean protocol\?$/,
    /^c\.yaml:31:9 spec\.task: "requird" is not known here; did you mean required\?/,
    /^c\.yaml:32:3 spec\.retries: the key retries is not supported yet; remove it: it would not be enforced$/,
    /^c\.yaml:33:14 spec\.dataClass: "none" is not a data class; /,
    /^c\.yaml:34:\d+ spec\.rules\[0\]\.http: unknown key "method"; did you mean methods\?$/,
    /^c\.yaml:34:\d+ spec\.rules\[0\]\.a2a: the key a2a is not supported yet/,
    /^c\.yaml:36:1 metadata: the key is missing/,
    /^c\.yaml:36:1 spec: the key is missing/,
    /^c\.yaml:39:7 kind: unknown kind "Destinaton"; did you mean Destination\?$/,
    /^c\.yaml:41:1 the document is not a map/,
    /^c\.yaml:43:1 metadata: the key is missing; write a map with the keys name$/,
    /^c\.yaml:43:1 spec: the key is missing/,
    /^c\.yaml:43:13 apiVersion: "v1" is not known here; write chaperone\.dev\/v1alpha1$/,
  ]);
  t.equal(problems.length, 16);
});

t.test('each key and word of the design that is not built yet is refused by name', async (t) => {
  const sidecarKeys = ['inbound'].map((key) => [key, `${SIDECAR}  ${key}: []\n`] as const);
  for (const [key, text] of sidecarKeys)
    t.match(
      await problemsOf(t, text),
      [new RegExp(`spec\\.${key}: the key ${key} is not supported yet`)],
      key,
    );
  const ruleWith = (key: string): string =>
    `  rules: [{ name: a, effect: deny, http: {}, ${key}: x }]`;
  const cases: readonly (readonly [string, string])[] = [
    ...['retries'].map((key) => [key, `  ${key}: x`] as const),
    ...['a2a'].map((key) => [key, ruleWith(key)] as const),
    ...['a2a', 'postgres'].map((word) => [word, `  protocol: ${word}`] as const),
  ];
  for (const [word, spec] of cases)
    t.match(
      await problemsOf(t, SIDECAR, destination(spec)),
      [new RegExp(`${word} is not supported yet`)],
      spec,
    );
});

t.test(
  'conditions are compiled with the documents: each that is none is a problem at its place (when)',
  async (t) => {
    const rules = (...conditions: readonly string[]): string =>
      `  rules:\n${conditions
        .map((text, i) => `    - { name: r${i}, effect: deny, http: {}, when: ${text} }`)
        .join('\n')}`;
    t.match(await problemsOf(t, SIDECAR, destination(rules('""'))), [
      / spec\.rules\[0\]\.when: the condition is empty/,
    ]);
    const found = await problemsOf(
      t,
      SIDECAR.replace('spec:', 'spec:\n  dataClasses: [low, high]'),
      destination(rules("'request.verb == 1'", "'request.port == 81'", '\'rank("secret") > 1\'')),
      destination(rules("'args.x == 1'"), 'wiki'),
    );
    t.match(found, [
      /^c\.yaml:16:49 spec\.rules\[0\]\.when: column 9: no such key: verb; see docs/,
      /^c\.yaml:18:49 spec\.rules\[2\]\.when: column 6: "secret" is no data class; they are low, high$/,
      /^c\.yaml:28:49 spec\.rules\[0\]\.when: column 1: args is not known for a request rule; known are request, /,
    ]);
    const { policy } = await load(
      t,
      SIDECAR.replace('spec:', 'spec:\n  dataClasses: [low, high]'),
      destination(
        `${rules('\'request.param("force") == ["1"]\'')}\n    - { name: low, effect: ` +
          'allow, action: read, http: {}, when: rank(destination.dataClass) == 1 }',
      ),
    );
    t.equal(policy.byName.get('crm')?.dataClass, 'high', 'the highest class is the default');
    t.same(policy.dataClasses, ['low', 'high'], 'as tasks order them too');
    t.match(decide(policy, request()), { effect: 'allow', rule: 'low' });
    t.match(decide(policy, request({ query: '?force=1' })), {
      effect: 'deny',
      code: 'denied-by-rule',
      rule: 'r0',
    });
  },
);

t.test(
  'a destination of connections has a condition of its own, over what is known of a connection',
  async (t) => {
    const spec = (when: string): string => `  protocol: tcp\n  ports: [5432]\n  when: ${when}`;
    t.match(await problemsOf(t, SIDECAR, destination(spec('\'request.method == "GET"\''))), [
      /^c\.yaml:\d+:\d+ spec\.when: column 9: no such key: method/,
    ]);
    const { policy } = await load(t, SIDECAR, destination(spec("'request.time.getHours() >= 8'")));
    const at = (hour: number): string =>
      decide(policy, { ...connection({ port: 5432 }), time: Date.UTC(2026, 0, 1, hour) }).code;
    t.equal(at(8), 'allowed');
    t.equal(at(7), 'no-rule-matched');
    const { policy: late } = await load(t, SIDECAR, destination(spec("'task.uses < 3'")));
    t.match(decide(late, connection({ port: 5432 })), {
      effect: 'deny',
      code: 'condition-failed',
      reason:
        /condition of destination crm could not be evaluated for a connection to crm\.internal:5432 \(.*not known/,
      policyError: /^crm: /,
    });
  },
);

t.test('values of the wrong kind are refused, never turned into the right one', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['  ports: ["80"]', /ports\[0\]: "80" is not what is wanted here; write a whole number/],
    ['  ports: [0x50]', /0x50 is not what is wanted/],
    ['  ports: [80.0]', /80\.0 is not what is wanted/],
    ['  ports: [1e2]', /1e2 is not what is wanted/],
    ['  ports: [0]', /write a whole number from 1 to 65535/],
    ['  ports: 80', /spec\.ports: 80 is not what is wanted here; write \[80\]/],
    ['  ports: []', /the list is too short; write at least 1/],
    ['  ports: [80, 80]', /"80" is there twice/],
    ['  hosts: crm.internal', /write \["crm\.internal"\]/],
    ['  hosts: [10.5]', /10\.5 is a number, not text/],
    ['  hosts: [null]', /nothing is not what is wanted/],
    ['  hosts:', /nothing is not what is wanted/],
    ['  hosts: [yes]', /yes without quotes is a boolean/],
    ['  dataClass: true', /true is a boolean, not text/],
    ['  unsafeNonLoopback: yes', /"yes" is not what is wanted here; write true or false/],
    ['  unsafeNonLoopback: "true"', /write true or false/],
    ['  unsafeNonLoopback: 1', /write true or false/],
    ['  limits: { concurrent: -1 }', /write a whole number from 1/],
    ['  limits: { body: 1024 }', /1024 is a number, not text; write a size such as 1MiB/],
    ['  upstream: crm:80', /write a map with the keys address, /],
    ['  rules: { a: b }', /write a list/],
    ['  rules: [x]', /write a map with the keys name, effect, action, http/],
  ];
  for (const [spec, message] of cases)
    t.match(await problemsOf(t, SIDECAR, destination(spec)), [message], spec);
});

t.test('a set needs exactly one Sidecar, and says where the other one is', async (t) => {
  t.match(await problemsOf(t, destination('  task: optional')), [
    /^c\.yaml: there is no Sidecar document; .*chaperone init/,
  ]);
  t.match(await problemsOf(t, SIDECAR, SIDECAR), [
    /^c\.yaml:7:1 there is another Sidecar document \(.*c\.yaml:1:1\); keep one$/,
  ]);
  t.match(await problemsOf(t, ''), [/there is no Sidecar document/]);
});

t.test(
  'files and folders: *.yaml and *.yml in order, nothing hidden, nothing deeper',
  async (t) => {
    const path = folder(t);
    writeFileSync(join(path, 'b.yml'), destination('', 'b'));
    writeFileSync(join(path, 'a.yaml'), destination('', 'a'));
    writeFileSync(join(path, '.hidden.yaml'), 'broken: [');
    writeFileSync(join(path, 'notes.txt'), 'broken: [');
    mkdirSync(join(path, 'deeper'));
    writeFileSync(join(path, 'deeper', 'c.yaml'), 'broken: [');
    const other = folder(t);
    writeFileSync(join(other, 'side.conf'), SIDECAR);
    const { policy, sources } = await loadConfig([path, join(other, 'side.conf'), path], {
      generation: 1,
    });
    t.same(
      policy.destinations.map(({ name }) => name),
      ['a', 'b'],
    );
    t.same(sources, [join(path, 'a.yaml'), join(path, 'b.yml'), join(other, 'side.conf')]);
  },
);

t.test('what cannot be read is a problem with its own exit status', async (t) => {
  const path = folder(t);
  mkdirSync(join(path, 'empty'));
  writeFileSync(join(path, 'latin.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]));
  const paths = ['nope.yaml', 'empty', 'latin.yaml'].map((name) => join(path, name));
  t.match(await problemsIn(path, paths), [
    /^empty: the folder holds no \*\.yaml/,
    /^latin\.yaml: the file is not UTF-8; save it as UTF-8/,
    /^nope\.yaml: cannot be read \(ENOENT\)/,
  ]);
  await t.rejects(loadConfig(paths, { generation: 1 }), { code: 'config-unreadable', exit: 66 });
  await t.rejects(load(t, 'a: 1\n'), { code: 'config', exit: 78 });
});

t.test('what is in a folder and is no file is a problem, and holds nothing up', async (t) => {
  const path = folder(t);
  execFileSync('mkfifo', [join(path, 'pipe.yaml')]);
  symlinkSync('/dev/zero', join(path, 'zero.yaml'));
  writeFileSync(join(path, 'wide.yaml'), Buffer.from('a: 1\n', 'utf16le'));
  t.match(await problemsIn(path, [path]), [
    /^pipe\.yaml: cannot be read \(it is no regular file\); name a regular file/,
    /^wide\.yaml: the file is not UTF-8; save it as UTF-8/,
    /^zero\.yaml: cannot be read \(it is no regular file\); name a regular file/,
  ]);
});

t.test('a mounted ConfigMap is read through its link as it stood at one moment', async (t) => {
  const path = folder(t);
  const version = (name: string, text: string): void => {
    mkdirSync(join(path, name));
    writeFileSync(join(path, name, 'c.yaml'), text);
  };
  version('..1', SIDECAR);
  symlinkSync('..1', join(path, '..data'));
  symlinkSync('..data/c.yaml', join(path, 'c.yaml'));
  t.match(await loadConfig([path], { generation: 1 }), {
    sidecar: { name: 'agent' },
    sources: [join(path, 'c.yaml')],
  });
  version('..2', SIDECAR.replace('name: agent', 'name: second'));
  symlinkSync('..2', join(path, '..data_tmp'));
  renameSync(join(path, '..data_tmp'), join(path, '..data'));
  t.match(await loadConfig([path], { generation: 2 }), {
    sidecar: { name: 'second' },
    sources: [join(path, 'c.yaml')],
  });
});

t.test('equal documents have an equal digest, whatever their order, file or layout', async (t) => {
  const one = await load(t, SIDECAR, destination('  dataClass: public', 'a'), destination('', 'b'));
  const same = await load(
    t,
    destination('', 'b'),
    `# moved\n${destination('  "dataClass": "public"', 'a')}`,
    SIDECAR,
  );
  const other = await load(
    t,
    SIDECAR,
    destination('  dataClass: internal', 'a'),
    destination('', 'b'),
  );
  t.match(one.policy.digest, /^[0-9a-f]{64}$/);
  t.equal(one.policy.digest, same.policy.digest);
  t.not(one.policy.digest, other.policy.digest);
});

t.test('decoders throw nothing, whatever a document holds', async (t) => {
  const key = fc.constantFrom(
    'apiVersion',
    'kind',
    'metadata',
    'name',
    'spec',
    'hosts',
    'ports',
    'tls',
    'mode',
    'peers',
    'rules',
    'http',
    'paths',
    'upstream',
    'address',
    '__proto__',
    'constructor',
    'toString',
    'defaults',
    'task',
  );
  const word = fc.oneof(
    fc.constantFrom(
      'Sidecar',
      'Destination',
      'chaperone.dev/v1alpha1',
      'mtls',
      'crm.internal',
      '/v1/**',
      'optional',
      'a:80',
    ),
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.double(),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      word,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(key, tie('value'), { maxKeys: 6 }),
    ),
  }));
  const document = fc.record({
    kind: fc.constantFrom('Sidecar', 'Destination', 'x'),
    spec: value,
    metadata: value,
    apiVersion: word,
  });
  let refused = 0;
  fc.assert(
    fc.property(document, (one) => {
      const problems = collector();
      const found = { sidecars: [], destinations: [], taskPolicies: [], broken: new Set<string>() };
      for (const tree of parseYaml('c.yaml', JSON.stringify(one), problems))
        readDocument(tree, found, problems);
      if (problems.size > 0) refused += 1;
      return problems.size > 0 || found.sidecars.length + found.destinations.length > 0;
    }),
    { numRuns: 1500 },
  );
  t.ok(refused > 1000);
});

t.test('loading throws nothing but a Fault, whatever the file', async (t) => {
  const path = folder(t);
  const file = join(path, 'c.yaml');
  const base = `${FULL}---\n${destination('  rules: [{ name: a, effect: deny, http: { paths: [/x] } }]')}`;
  const edits = fc.array(
    fc.tuple(
      fc.nat(base.length),
      fc.oneof(fc.constant(''), fc.string({ maxLength: 4 })),
      fc.nat(12),
    ),
    { maxLength: 4 },
  );
  let loaded = 0;
  await fc.assert(
    fc.asyncProperty(edits, async (list) => {
      writeFileSync(
        file,
        list.reduce((text, [at, put, cut]) => text.slice(0, at) + put + text.slice(at + cut), base),
      );
      try {
        await loadConfig([file], { generation: 1 });
        loaded += 1;
        return true;
      } catch (error) {
        return (
          error instanceof Fault &&
          error.message
            .split('\n')
            .every((line) => line.startsWith(file) || line.startsWith('and '))
        );
      }
    }),
    { numRuns: 400 },
  );
  t.ok(loaded > 5, `${loaded} of the edited files still loaded`);
});
