import { join } from 'node:path';
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { shortFolder } from '../support/folder.ts';
import { chaperone, eventually, startChaperone } from '../support/program.ts';

const COMMANDS = [
  'test',
  'paths',
  'suggest',
  'run',
  'init',
  'check',
  'explain',
  'env',
  'trust',
  'svid',
  'dev',
  'demo',
  'doctor',
  'schema',
];

t.test('help needs no configuration, no identity and no network', async (t) => {
  const top = await chaperone(['--help'], { SPIFFE_ENDPOINT_SOCKET: 'unix:///nowhere' });
  t.equal(top.status, 0);
  for (const command of COMMANDS) t.match(top.out, new RegExp(`^  ${command}`, 'm'));
  for (const command of COMMANDS) {
    const help = await chaperone([command, '--help'], {
      SPIFFE_ENDPOINT_SOCKET: 'unix:///nowhere',
    });
    t.equal(help.status, 0, command);
    t.match(help.out, /Usage: chaperone/, command);
  }
});

t.test('a wrong command line exits 64 and says what is wrong', async (t) => {
  for (const args of [['fly'], ['check', '--colour'], ['explain', 'GET']]) {
    const { status, err } = await chaperone(args);
    t.equal(status, 64, args.join(' '));
    t.match(err, /error: /);
  }
});

t.test('init writes a configuration that check passes, and never over a file', async (t) => {
  const file = join(t.testdir(), 'chaperone.yaml');
  t.equal((await chaperone(['init', file])).status, 0);
  const checked = await chaperone(['check', '-c', file]);
  t.equal(checked.status, 0, checked.err);
  t.match(checked.out, /^ok: /);
  const [first = ''] = readFileSync(file, 'utf8').split('\n');
  const [, schema = ''] = /^# yaml-language-server: \$schema=(\S+)$/.exec(first) ?? [];
  t.equal(
    readFileSync(join(file, '..', schema), 'utf8'),
    (await chaperone(['schema'])).out,
    'the schema that it names is there',
  );
  writeFileSync(file, 'mine');
  const again = await chaperone(['init', file]);
  t.equal(again.status, 64);
  t.equal(readFileSync(file, 'utf8'), 'mine');
});

t.test('check lists every problem as file:line:column with the fix, and exits 78', async (t) => {
  const file = join(
    t.testdir({
      'bad.yaml': [
        'apiVersion: chaperone.dev/v1alpha1',
        'kind: Sidecar',
        'metadata: { name: a }',
        'spec:',
        '  foward: { address: 127.0.0.1:15001 }',
        '  defaults: { task: optional, unlisted: maybe }',
      ].join('\n'),
    }),
    'bad.yaml',
  );
  const { status, err } = await chaperone(['check', '-c', file]);
  t.equal(status, 78);
  t.match(err, /bad\.yaml:5:3.*forward/s);
  t.match(err, /bad\.yaml:6:.*report/s);
});

t.test('check names a file that is not there', async (t) => {
  const { status, err } = await chaperone(['check', '-c', join(t.testdir(), 'none.yaml')]);
  t.ok(status === 66 || status === 78, String(status));
  t.match(err, /none\.yaml/);
});

t.test('env prints every variable in both cases', async (t) => {
  const file = join(t.testdir(), 'chaperone.yaml');
  await chaperone(['init', file]);
  const { status, out } = await chaperone(['env', '--json', '-c', file]);
  t.equal(status, 0);
  const variables = JSON.parse(out) as Record<string, string>;
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY']) {
    t.ok(variables[name], name);
    t.equal(variables[name.toLowerCase()], variables[name]);
  }
  t.match(variables['http_proxy'], /^http:\/\/127\.0\.0\.1:\d+$/);
});

t.test(
  'env names the socket of the agent that is meant, and the forward proxy that is its own',
  async (t) => {
    const file = join(t.testdir({ 'c.yaml': AGENTS }), 'c.yaml');
    const named = await chaperone(['env', '--agent', 'b', '-c', file]);
    t.equal(named.status, 0, named.err);
    t.match(named.out, /^export CHAPERONE_AGENT_API='?\/run\/b\/api\.sock'?$/m);
    t.match(named.out, /forward proxy of this agent alone: \/run\/b\/forward\.sock/);
    t.notMatch(named.out, /HTTP_PROXY/, 'there is no port');
    t.match(
      (await chaperone(['env', '--agent', 'c', '-c', file])).err,
      /there is no agent c[^]*a, b/,
    );
    t.match((await chaperone(['env', '-c', file])).err, /no forward proxy/);
  },
);

const AGENTS = `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: pod }
spec:
  agents:
    - { name: a, folder: /run/a }
    - { name: b, folder: /run/b }
`;

t.test(
  "dev --serve puts the demo's API beside the identity, and says what was asked of it",
  async (t) => {
    const folder = shortFolder(t);
    const socket = join(folder, 'w.sock');
    await using dev = startChaperone(['dev', '--socket', socket, '--serve', '/crm=0']);
    const [, port = ''] = await eventually('it serves', () =>
      /serving the demo's API as spiffe:\/\/dev\.local\/crm on 127\.0\.0\.1:(\d+)/.exec(dev.text()),
    );
    t.match(dev.text(), /serving unix:\S+ for spiffe:\/\/dev\.local\/agent$/m);
    const { out } = await chaperone(['svid', 'show', '--workload-api', `unix://${socket}`]);
    t.match(out, /spiffe:\/\/dev\.local\/agent/);
    t.notMatch(out, /dev\.local\/crm/, 'who asks that socket cannot be what is served');
    const taken = await chaperone([
      'dev',
      '--socket',
      join(folder, 'x.sock'),
      '--serve',
      `/crm=${port}`,
    ]);
    t.match([taken.status, taken.err], [71, new RegExp(`127\\.0\\.0\\.1:${port}: .*EADDRINUSE`)]);
    for (const wrong of ['crm=8443', '/crm', '/crm=70000']) {
      const { status, err } = await chaperone([
        'dev',
        '--socket',
        join(folder, 'x.sock'),
        '--serve',
        wrong,
      ]);
      t.match([status, err], [64, /--serve takes a path of a SPIFFE ID and a port/], wrong);
    }
  },
);
