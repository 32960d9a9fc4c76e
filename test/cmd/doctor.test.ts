/**
 * `chaperone doctor` in front of set-ups that are well and set-ups that are broken in one known
 * way.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock, type Clock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDevWorkloadApi, type DevWorkloadApiOptions } from '../../lib/dev/workload-api.ts';
import { doctor, type DoctorOptions } from '../../cmd/commands/doctor.ts';
import type { Finding } from '../../cmd/doctor/finding.ts';
import { style, type Io } from '../../cmd/io.ts';
import { crmDocument, document, documents } from '../support/documents.ts';
import { shortFolder } from '../support/folder.ts';
import { shiftedClock } from '../identity/fixture.ts';
import { chaperone, eventually, startChaperone } from '../support/program.ts';

t.setTimeout(600_000);

interface Setup {
  readonly endpoint: string;
  readonly audit?: string;
  readonly forward?: string;
  readonly select?: string;
  readonly more?: string;
  readonly destination?: string;
}

function written(
  folder: string,
  { endpoint, audit = 'audit.jsonl', select = '', forward, more = '', destination }: Setup,
): string {
  const file = join(folder, 'chaperone.yaml');
  writeFileSync(
    file,
    documents(
      document(
        'Sidecar',
        'test',
        `  identity: { workloadApi: '${endpoint}'${select} }
  forward: { address: '${forward ?? '127.0.0.1:0'}', unsafeNonLoopback: true }
  health: { address: 127.0.0.1:0 }
  adminApi: { socket: ${join(folder, 'admin', 'api.sock')} }
  audit: { sinks: [{ file: ${audit} }] }
  defaults: { task: optional }
${more}`,
      ),
      destination === undefined
        ? crmDocument({ trustDomain: 'example.org', address: '127.0.0.1:9' })
        : document('Destination', 'crm', '  hosts: [crm.internal]', '  ports: [80]', destination),
    ),
  );
  return file;
}

async function workloadApi(
  t: Test,
  options: Partial<DevWorkloadApiOptions> & { clock?: Clock } = {},
) {
  const folder = shortFolder(t);
  const { clock = systemClock } = options;
  const api = await startDevWorkloadApi({
    socket: join(folder, 'identity', 'w.sock'),
    domain: await createDevTrustDomain({ name: 'example.org', clock }),
    identities: [{ id: '/agent' }],
    ...options,
  });
  t.teardown(() => api[Symbol.asyncDispose]());
  return { folder, api, endpoint: api.endpoint };
}

interface Report {
  readonly healthy: boolean;
  of(check: Finding['check']): readonly Finding[];
}

/** In this process, as the command line would call it. */
async function examine(config: string, more: Partial<DoctorOptions> = {}): Promise<Report> {
  const lines: string[] = [];
  const io: Io = {
    out: (line) => lines.push(line),
    err: () => {},
    env: {},
    style: style(false),
    detail: 'usual',
  };
  const healthy = await doctor({ config: [config], timeout: '2s', json: true, ...more }, io);
  const { findings } = JSON.parse(lines.join('')) as { readonly findings: readonly Finding[] };
  for (const { state, why, fix } of findings)
    if (state !== 'ok' && (why === undefined || fix === undefined))
      throw new Error('a finding without why or fix');
  return { healthy, of: (check) => findings.filter((one) => one.check === check) };
}

/** A port that was free a moment ago. */
async function freed(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(
  t: Test,
): Promise<{ readonly port: number; readonly connections: () => number }> {
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { port: (server.address() as AddressInfo).port, connections: () => connections };
}

t.test('a set-up that is well: every check is ok, egress alone is not known, exit 0', async (t) => {
  const { folder, endpoint } = await workloadApi(t);
  const report = await examine(written(folder, { endpoint }));
  t.ok(report.healthy);
  for (const check of [
    'configuration',
    'socket',
    'identity',
    'clock',
    'ports',
    'audit',
    'admin',
    'dns',
  ] as const) {
    t.ok(report.of(check).length > 0, check);
    for (const { state, what } of report.of(check)) t.equal(state, 'ok', `${check}: ${what}`);
  }
  t.match(report.of('egress'), [{ state: 'warn', fix: /--only egress --egress/ }]);
  t.match(report.of('identity')[0]?.what, /spiffe:\/\/example\.org\/agent, serial .*valid until/);
});

t.test(
  'people get lines with why and fix, machines get JSON, and no key is in either',
  async (t) => {
    const { folder, endpoint } = await workloadApi(t);
    const config = written(folder, { endpoint });
    const { out, status } = await chaperone(['doctor', '-c', config, '--timeout', '3s']);
    t.equal(status, 0);
    t.match(out, /^ok {3}socket {8}unix:/m);
    t.match(out, /^warn egress .*\n +why: .*\n +fix: /m);
    t.notMatch(out, /PRIVATE/);
    const json = await chaperone([
      'doctor',
      '--json',
      '-c',
      config,
      '--workload-api',
      'unix:///nowhere/w.sock',
      '--timeout',
      '300ms',
    ]);
    t.equal(json.status, 1);
    t.match(JSON.parse(json.out), { healthy: false });
  },
);

t.test(
  'each problem of the documents is a finding, and what needs no documents is still looked at',
  async (t) => {
    const { folder, endpoint } = await workloadApi(t);
    const config = written(folder, { endpoint, more: '  foward: {}\n' });
    const report = await examine(config, { workloadApi: endpoint });
    t.notOk(report.healthy);
    t.match(report.of('configuration'), [
      { state: 'fail', what: /chaperone\.yaml:\d+:\d+ .*foward.*forward/ },
    ]);
    t.equal(report.of('identity')[0]?.state, 'ok');
    const none = await examine(join(folder, 'none.yaml'), { only: ['configuration'] });
    t.match(none.of('configuration'), [{ state: 'fail', what: /none\.yaml/ }]);
  },
);

t.test(
  'a destination that only reports, evidence that may be lost, SVIDs by order: warnings, exit 0',
  async (t) => {
    const { folder, endpoint } = await workloadApi(t, {
      identities: [{ id: '/agent' }, { id: '/other' }],
    });
    const config = written(folder, {
      endpoint,
      destination:
        "  mode: report\n  upstream: { address: '127.0.0.1:9' }\n  tls: { mode: plaintext }",
    });
    const report = await examine(config);
    t.ok(report.healthy);
    t.match(report.of('configuration')[1], { state: 'warn', what: /crm only reports/ });
    t.match(report.of('identity')[1], {
      state: 'warn',
      what: /first of 2 SVIDs/,
      fix: /identity\.select/,
    });
  },
);

t.test(
  'the socket: absent, not a socket, deserted, not ours to open, an address that is none',
  async (t) => {
    const { folder, api, endpoint } = await workloadApi(t);
    const config = written(folder, { endpoint });
    const found = async (address: string) =>
      (await examine(config, { only: ['socket'], workloadApi: address })).of('socket')[0];
    t.match(await found('unix:///nowhere/w.sock'), {
      state: 'fail',
      what: /cannot be seen/,
      why: 'ENOENT',
      fix: /mounted/,
    });
    const file = join(folder, 'file');
    writeFileSync(file, '');
    t.match(await found(`unix://${file}`), { state: 'fail', what: /is not a socket/ });
    t.match(await found('http://example.org'), { state: 'fail', what: /not known or malformed/ });
    t.match(await found('tcp://127.0.0.1:9'), { state: 'fail', why: 'ECONNREFUSED' });
    const { port } = await listening(t);
    t.match(await found(`tcp://127.0.0.1:${port}`), { state: 'ok' });
    if (process.getuid?.() !== 0) {
      chmodSync(api.socket, 0o000);
      t.match(await found(endpoint), { state: 'fail', why: 'EACCES', fix: /write permission/ });
      chmodSync(api.socket, 0o600);
    }
    const deserted = startChaperone(['dev', '--socket', join(folder, 'd', 'w.sock')]);
    await eventually('it serves', () => /serving/.test(deserted.text()));
    deserted.child.kill('SIGKILL');
    await deserted.ended;
    t.match(await found(`unix://${join(folder, 'd', 'w.sock')}`), {
      state: 'fail',
      what: /nobody serves it/,
      why: 'ECONNREFUSED',
    });
  },
);

t.test('no identity for us: the finding says what the Workload API answered', async (t) => {
  const { folder, endpoint } = await workloadApi(t, { identities: [] });
  const report = await examine(written(folder, { endpoint }));
  t.notOk(report.healthy);
  t.match(report.of('identity'), [
    { state: 'fail', why: /PERMISSION_DENIED/, fix: /registration entry/ },
  ]);
  t.match(report.of('clock'), [{ state: 'warn', what: /cannot be compared/ }]);
});

t.test(
  'an SVID that was not chosen, one whose renewal is overdue, a bundle that nobody gave',
  async (t) => {
    const late = shiftedClock();
    late.shift(-3_000_000);
    const { folder, endpoint } = await workloadApi(t, { clock: late });
    const identity = async (setup: Partial<Setup>) =>
      (await examine(written(folder, { endpoint, ...setup }), { only: ['identity'] })).of(
        'identity',
      );
    t.match(await identity({ select: ', select: { hint: research }' }), [
      { state: 'fail', why: /issued were/ },
    ]);
    const [svid, own, foreign] = await identity({
      destination:
        "  upstream: { address: '127.0.0.1:9' }\n  tls: { mode: mtls, peers: " +
        "['spiffe://other.test/crm'] }",
    });
    t.match(svid, { state: 'warn', what: /has [1-9]\d\d s left/, fix: /log of the SPIRE agent/ });
    t.match(own, { state: 'ok', what: /bundle of example\.org/ });
    t.match(foreign, {
      state: 'fail',
      what: /no usable bundle of other\.test, which destination crm needs/,
      fix: /federate/,
    });
  },
);

t.test('a clock that is slow or fast is measured against the newest SVID', async (t) => {
  const ahead = shiftedClock();
  ahead.shift(3_600_000);
  const slow = await workloadApi(t, { clock: ahead });
  const report = await examine(written(slow.folder, { endpoint: slow.endpoint }));
  t.match(report.of('clock'), [
    { state: 'fail', what: /clock is at least 3[56]\d\d s slow/, why: /valid from/, fix: /NTP/ },
  ]);
  t.equal(report.of('identity')[0]?.state, 'fail', 'such an SVID is not used');
  const behind = shiftedClock();
  behind.shift(-7_200_000);
  const fast = await workloadApi(t, { clock: behind });
  const other = await examine(written(fast.folder, { endpoint: fast.endpoint }));
  t.match(other.of('clock'), [
    { state: 'fail', what: /expired 3[56]\d\d s ago/, why: /clock is fast, or/ },
  ]);
});

t.test(
  'ports: taken by a stranger, an address that is not ours, taken by this sidecar',
  async (t) => {
    const { folder, endpoint } = await workloadApi(t);
    const { port } = await listening(t);
    const taken = written(folder, { endpoint, forward: `127.0.0.1:${port}` });
    t.match((await examine(taken, { only: ['ports'] })).of('ports')[0], {
      state: 'fail',
      why: 'EADDRINUSE',
      fix: /ss -ltnp/,
    });
    const elsewhere = written(folder, { endpoint, forward: '192.0.2.1:15001' });
    t.match((await examine(elsewhere, { only: ['ports'] })).of('ports')[0], {
      state: 'fail',
      why: 'EADDRNOTAVAIL',
    });
    const config = written(folder, { endpoint, forward: `127.0.0.1:${await freed()}` });
    await using running = startChaperone(['run', '-c', config]);
    await eventually('it listens', () => /listening/.test(running.text()));
    t.match((await examine(config, { only: ['ports'] })).of('ports')[0], {
      state: 'ok',
      what: /taken, and this sidecar is running/,
    });
  },
);

t.test('evidence: a folder that is not there, a folder in place of the file', async (t) => {
  const { folder, endpoint } = await workloadApi(t);
  const audit = async (file: string) =>
    (await examine(written(folder, { endpoint, audit: file }), { only: ['audit'] })).of('audit')[0];
  t.match(await audit('none/audit.jsonl'), {
    state: 'fail',
    what: /requests would be refused/,
    why: 'ENOENT',
  });
  mkdirSync(join(folder, 'dir'));
  t.match(await audit('dir'), { state: 'fail', what: /is a folder/ });
  t.match(await audit('new.jsonl'), { state: 'ok' });
});

t.test('the folder of the admin socket: open to others, closed, not there yet', async (t) => {
  const { folder, endpoint } = await workloadApi(t);
  const config = written(folder, { endpoint });
  const admin = async () => (await examine(config, { only: ['admin'] })).of('admin')[0];
  t.match(await admin(), { state: 'ok', what: /will be made/ });
  mkdirSync(join(folder, 'admin'));
  chmodSync(join(folder, 'admin'), 0o755);
  t.match(await admin(), { state: 'fail', what: /has mode 0755/, fix: /chmod 700/ });
  chmodSync(join(folder, 'admin'), 0o700);
  t.match(await admin(), { state: 'ok', what: /0700/ });
});

t.test(
  'written upstreams: a name without an address, an address that may not be dialled',
  async (t) => {
    const { folder, endpoint } = await workloadApi(t);
    const dns = async (address: string) => {
      const destination =
        `  upstream: { address: '${address}' }\n  tls: { mode: mtls, peers: ` +
        `['spiffe://example.org/crm'] }`;
      return (await examine(written(folder, { endpoint, destination }), { only: ['dns'] })).of(
        'dns',
      )[0];
    };
    t.match(await dns('crm.invalid:443'), {
      state: 'fail',
      what: /upstream of crm: crm\.invalid cannot be resolved/,
    });
    t.match(await dns('localhost:443'), { state: 'fail', what: /may not be dialled: loopback/ });
    const through = async (proxy: string) => {
      const destination = `  via: { proxy: '${proxy}' }\n  tls: { mode: web }`;
      return (await examine(written(folder, { endpoint, destination }), { only: ['dns'] })).of(
        'dns',
      )[0];
    };
    t.match(await through('http://10.0.0.1:3128'), {
      state: 'ok',
      what: /crm is reached through http:\/\/10\.0\.0\.1:3128/,
    });
    t.match(await through('http://proxy.invalid:3128'), {
      state: 'fail',
      what: /proxy\.invalid cannot be resolved/,
    });
  },
);

t.test(
  'egress: reached, refused, not resolved, no address at all; nobody else is contacted',
  async (t) => {
    const { folder, endpoint } = await workloadApi(t);
    const there = await listening(t);
    const other = await listening(t);
    const destination =
      `  upstream: { address: '127.0.0.1:${other.port}' }\n  tls: { mode: mtls, peers: ` +
      `['spiffe://example.org/crm'] }`;
    const config = written(folder, { endpoint, destination });
    const egress = async (...named: readonly string[]) =>
      (await examine(config, { only: ['egress'], egress: named })).of('egress');
    t.match(await egress(`127.0.0.1:${there.port}`), [
      { state: 'fail', what: /was reached directly/, fix: /NetworkPolicy/ },
    ]);
    await eventually('one connection', () => there.connections() === 1);
    t.equal(other.connections(), 0, 'what was not named was left alone');
    t.match(await egress('crm'), [
      { state: 'fail', what: new RegExp(`127\\.0\\.0\\.1:${other.port} was reached`) },
    ]);
    t.match(await egress('127.0.0.1:9', 'host.invalid:443', 'nonsense'), [
      { state: 'warn', what: /refused the connection/ },
      { state: 'warn', what: /host\.invalid cannot be resolved/ },
      { state: 'fail', what: /neither host:port nor a destination/ },
    ]);
  },
);

t.test('egress that is silent or has no way is what is wanted', async (t) => {
  const { folder } = await workloadApi(t);
  const report = await examine(join(folder, 'none.yaml'), {
    only: ['egress'],
    egress: ['[100::1]:443'],
    timeout: '300ms',
  });
  t.ok(report.healthy, 'needs no documents');
  t.match(report.of('egress'), [
    { state: 'ok', what: /cannot be reached directly \((TIMEOUT|E[A-Z]+)\)/ },
  ]);
});

t.test('a check that is not known is refused with the names of those that are', async (t) => {
  const { status, err } = await chaperone(['doctor', '--only', 'mood']);
  t.equal(status, 64);
  t.match(err, /no check "mood".*configuration, socket/);
});
