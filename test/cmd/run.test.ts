/** `chaperone run` as a process: what an operator meets. */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { crmDocument, documents, sidecarDocument } from '../support/documents.ts';
import { testWorkload } from '../support/workload.ts';
import { shortFolder } from '../support/folder.ts';
import { chaperone, eventually, portsOf, startChaperone } from '../support/program.ts';

t.setTimeout(600_000);

interface Asked {
  readonly status: number;
  readonly body: string;
}

function http(options: {
  port?: number;
  socketPath?: string;
  path: string;
  method?: string;
  host?: string;
}): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const { host, ...where } = options;
    const headers = host === undefined ? {} : { host };
    const asked = request({ agent: false, ...where, headers }, (answer) => {
      let body = '';
      answer.on('data', (chunk: Buffer) => (body += chunk.toString()));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }));
      answer.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

interface Configured {
  readonly folder: string;
  readonly config: string;
  readonly audit: string;
}

function configured(
  t: Tap,
  workloadApi: string,
  { upstream = '127.0.0.1:9', sink }: { upstream?: string; sink?: string } = {},
): Configured {
  const folder = shortFolder(t);
  const config = join(folder, 'chaperone.yaml');
  const audit = sink ?? join(folder, 'audit.jsonl');
  writeFileSync(config, written({ folder, workloadApi, upstream, audit, rule: 'GET' }));
  return { folder, config, audit };
}

type Tap = Parameters<typeof shortFolder>[0];

function written(given: {
  folder: string;
  workloadApi: string;
  upstream: string;
  audit: string;
  rule: string;
}): string {
  return documents(
    sidecarDocument({
      endpoint: given.workloadApi,
      more: `  health: { address: 127.0.0.1:0 }
  adminApi: { socket: ${join(given.folder, 'admin', 'api.sock')} }
  audit: { sinks: [{ file: ${given.audit} }] }
  defaults: { task: optional }
  drain: 1s`,
    }),
    crmDocument({
      address: given.upstream,
      more: `  rules: [{ name: read, effect: allow, action: read, http: { methods: [${given.rule}] } }]`,
    }),
  );
}

const CUSTOMER = { path: 'http://crm.internal/v1/customers/1001', host: 'crm.internal' };

t.test(
  'without a Workload API health answers at once, says what is awaited, and requests get 503 (C-26, C-41)',
  async (t) => {
    const socket = join(shortFolder(t), 'none.sock');
    const { config, folder } = configured(t, `unix://${socket}`);
    await using sidecar = startChaperone(['run', '-c', config]);
    const { health, forward } = await portsOf(sidecar);
    t.equal((await http({ port: health ?? 0, path: '/livez' })).status, 200);
    const ready = await http({ port: health ?? 0, path: '/readyz' });
    t.equal(ready.status, 503);
    t.match(ready.body, /identity: waiting for the first SVID/);
    const refused = await http({ port: forward ?? 0, ...CUSTOMER });
    t.equal(refused.status, 503);
    t.match(refused.body, /no-identity/);
    t.match(refused.body, /is the SPIRE agent running/);
    const status = await http({ socketPath: join(folder, 'admin', 'api.sock'), path: '/status' });
    t.match(status.body, /"ready":false/);
    sidecar.child.kill('SIGTERM');
    t.equal((await sidecar.ended).status, 0);
  },
);

t.test('a whole life: ready, serving, reloaded, rotated logs, drained', async (t) => {
  await using workload = await testWorkload();
  const { config, audit, folder } = configured(t, workload.endpoint, {
    upstream: workload.upstreams.crm.address,
  });
  await using sidecar = startChaperone(['run', '-c', config]);
  const { health = 0, forward = 0 } = await portsOf(sidecar);
  await eventually(
    'ready',
    async () => (await http({ port: health, path: '/readyz' })).status === 200,
  );
  t.equal((await http({ port: forward, ...CUSTOMER })).status, 200);

  await t.test('metrics are derived from what happened', async (t) => {
    const { body } = await http({ port: health, path: '/metrics' });
    t.match(body, /^chaperone_build_info\{version="[^"]+",commit="[^"]+",node="v\d+[^"]*"\} 1$/m);
    t.match(body, /^process_open_fds \d+$/m);
    t.match(body, /^chaperone_tasks_open\{agent="[^"]+"\} 0$/m);
    t.match(
      body,
      /chaperone_decided_total\{agent="unknown",effect="allow",code="allowed",destination="crm"\} 1/,
    );
    t.match(body, /chaperone_ended_total\{outcome="completed"\} 1/);
    t.match(body, /chaperone_svid_expiry_timestamp_seconds \d+/);
    t.match(body, /chaperone_ready 1/);
  });

  await t.test('a changed file is loaded by itself', async (t) => {
    writeFileSync(
      config,
      written({
        folder,
        workloadApi: workload.endpoint,
        upstream: workload.upstreams.crm.address,
        audit,
        rule: 'POST',
      }),
    );
    await eventually(
      'denied now',
      async () => (await http({ port: forward, ...CUSTOMER })).status === 403,
    );
    t.pass();
  });

  await t.test('a bad file keeps the last good policy and shows as degraded', async (t) => {
    writeFileSync(config, 'kind: [');
    await eventually('degraded', async () =>
      /chaperone_config_degraded 1/.test((await http({ port: health, path: '/metrics' })).body),
    );
    t.equal((await http({ port: forward, ...CUSTOMER })).status, 403);
    writeFileSync(
      config,
      written({
        folder,
        workloadApi: workload.endpoint,
        upstream: workload.upstreams.crm.address,
        audit,
        rule: 'GET',
      }),
    );
    await eventually(
      'allowed again',
      async () => (await http({ port: forward, ...CUSTOMER })).status === 200,
    );
  });

  await t.test('a rotated audit file is opened anew on SIGHUP', async (t) => {
    renameSync(audit, `${audit}.1`);
    sidecar.child.kill('SIGHUP');
    await eventually('new file', async () => {
      await http({ port: forward, ...CUSTOMER });
      try {
        return readFileSync(audit, 'utf8').includes('"decided"');
      } catch {
        return false;
      }
    });
    t.match(readFileSync(`${audit}.1`, 'utf8'), /"lifecycle"/);
  });

  await t.test('POST /quitquitquit drains and ends with exit 0', async (t) => {
    const socketPath = join(folder, 'admin', 'api.sock');
    t.equal((await http({ socketPath, path: '/quitquitquit' })).status, 405);
    t.equal((await http({ socketPath, path: '/quitquitquit', method: 'POST' })).status, 200);
    t.equal((await sidecar.ended).status, 0);
  });
});

t.test(
  'when evidence cannot be written, nothing is sent and the answer says why (R5)',
  { skip: process.platform !== 'linux' && 'needs /dev/full' },
  async (t) => {
    await using workload = await testWorkload();
    const { config } = configured(t, workload.endpoint, {
      upstream: workload.upstreams.crm.address,
      sink: '/dev/full',
    });
    await using sidecar = startChaperone(['run', '-c', config]);
    const { health = 0, forward = 0 } = await portsOf(sidecar);
    const waits = async (): Promise<string> => (await http({ port: health, path: '/readyz' })).body;
    await eventually('nothing but evidence is awaited', async () => {
      const body = await waits();
      return body.includes('evidence: ') && !body.includes('identity: ');
    });
    const { status, body } = await http({ port: forward, ...CUSTOMER });
    t.equal(status, 503);
    t.match(body, /audit-unavailable/);
    t.equal(workload.upstreams.crm.connections(), 0, 'the upstream saw no connection');
  },
);

t.test('a second signal forces, with exit 75', async (t) => {
  await using workload = await testWorkload({ upstreams: { crm: 'echo' } });
  const { config, folder, audit } = configured(t, workload.endpoint);
  const text = written({
    folder,
    workloadApi: workload.endpoint,
    upstream: workload.upstreams.crm.address,
    audit,
    rule: 'GET',
  })
    .replace('drain: 1s', 'drain: 1h')
    .replace(/ {2}rules: .*\n/, '  protocol: tcp\n');
  writeFileSync(config, text);
  await using sidecar = startChaperone(['run', '-c', config]);
  const { health = 0, forward = 0 } = await portsOf(sidecar);
  await eventually(
    'ready',
    async () => (await http({ port: health, path: '/readyz' })).status === 200,
  );
  const held = request({ port: forward, method: 'CONNECT', path: 'crm.internal:80', agent: false });
  const open = new Promise((resolve) =>
    held.on(
      'connect',
      (answer, socket) => (socket.on('error', () => {}), resolve(answer.statusCode)),
    ),
  );
  held.on('error', () => {});
  held.end();
  t.equal(await open, 200);
  sidecar.child.kill('SIGTERM');
  await eventually('draining', async () => /draining/.test(sidecar.text()));
  t.equal(sidecar.child.exitCode, null, 'it waits for the tunnel');
  sidecar.child.kill('SIGTERM');
  t.equal((await sidecar.ended).status, 75);
});

t.test(
  'a port in use, a missing endpoint and a bad document refuse to start, each with its status',
  async (t) => {
    const taken = startChaperone(['run', '-c', configured(t, 'unix:///nowhere/x.sock').config]);
    await using _ = taken;
    const { health = 0 } = await portsOf(taken);
    const { config } = configured(t, 'unix:///nowhere/x.sock');
    writeFileSync(
      config,
      readFileSync(config, 'utf8').replace(
        'health: { address: 127.0.0.1:0 }',
        `health: { address: '127.0.0.1:${health}' }`,
      ),
    );
    const used = await chaperone(['run', '-c', config]);
    t.equal(used.status, 71, used.err);
    t.match(used.err, new RegExp(`127\\.0\\.0\\.1:${health}`));
    writeFileSync(
      config,
      readFileSync(config, 'utf8')
        .replace(/ {2}identity: .*\n/, '')
        .replace(String(health), '0'),
    );
    const lost = await chaperone(['run', '-c', config]);
    t.equal(lost.status, 64, lost.err);
    t.match(lost.err, /SPIFFE_ENDPOINT_SOCKET/);
    writeFileSync(config, 'kind: Sidecar');
    t.equal((await chaperone(['run', '-c', config])).status, 78);
  },
);

t.test(
  'svid show prints what the Workload API gives, and says why when nothing comes',
  async (t) => {
    await using workload = await testWorkload();
    const { status, out } = await chaperone(['svid', 'show', '--json'], {
      SPIFFE_ENDPOINT_SOCKET: workload.endpoint,
    });
    t.equal(status, 0);
    t.match(JSON.parse(out), {
      generation: 1,
      svids: [{ spiffeId: 'spiffe://dev.local/agent' }, {}],
    });
    t.notMatch(out, /PRIVATE/);
    const none = await chaperone([
      'svid',
      'show',
      '--timeout',
      '300ms',
      '--workload-api',
      `unix://${workload.folder}/none.sock`,
    ]);
    t.equal(none.status, 75);
    t.match(none.err, /no SVID came within 300ms/);
  },
);

t.test('explain says the words of the 403, for requests and for CONNECT', async (t) => {
  const { config } = configured(t, 'unix:///nowhere/x.sock');
  const denied = await chaperone([
    'explain',
    '-c',
    config,
    'DELETE',
    'http://crm.internal/v1/customers/1',
  ]);
  t.equal(denied.status, 77);
  t.match(
    denied.out,
    /deny \(no-rule-matched\): no rule of destination crm allows DELETE \/v1\/customers\/1/,
  );
  const allowed = await chaperone(['explain', '-c', config, 'GET', 'http://CRM.internal/v1']);
  t.equal(allowed.status, 0, allowed.err);
  t.match(allowed.out, /judged: forward, crm\.internal port 80, GET \/v1/);
  const tunnel = await chaperone(['explain', '-c', config, 'CONNECT', 'crm.internal:80']);
  t.equal(tunnel.status, 0);
  t.match(tunnel.out, /is inspected/);
  const dots = await chaperone(['explain', '-c', config, 'GET', 'http://crm.internal/a/../v1']);
  t.match(dots, { status: 65, err: /send "\/v1"/ });
  t.equal((await chaperone(['explain', '-c', config, 'GET', 'ftp://crm.internal/'])).status, 65);
  const secret = [
    '-H',
    'Authorization: Bearer canary-51',
    '--identity',
    'spiffe://dev.local/agent',
  ];
  const { out } = await chaperone([
    'explain',
    '-c',
    config,
    '--json',
    ...secret,
    'GET',
    'http://crm.internal/v1',
  ]);
  t.match(JSON.parse(out), {
    effect: 'allow',
    rules: [{ outcome: 'decides' }],
    facts: { http: { path: '/v1' } },
  });
  t.notMatch(out, 'canary', 'values of fields are not shown (C5)');
});

t.test('dev serves a Workload API that svid show reads', async (t) => {
  const folder = shortFolder(t);
  const socket = join(folder, 'w', 's.sock');
  mkdirSync(join(folder, 'w'), { mode: 0o700 });
  await using dev = startChaperone(['dev', '--socket', socket, '--id', '/a', '--id', '/b']);
  await eventually('serving', () => dev.text().includes('serving'));
  t.match(dev.text(), /attests nobody/);
  const { out } = await chaperone(['svid', 'show', '--workload-api', `unix://${socket}`]);
  t.match(out, /spiffe:\/\/dev\.local\/a[\s\S]*spiffe:\/\/dev\.local\/b/);
  dev.child.kill('SIGINT');
  t.equal((await dev.ended).status, 0);
});

t.test(
  'a Workload API that does not take what is asked ends it with 78, or with onFinal: wait not',
  async (t) => {
    const folder = shortFolder(t);
    const api = await startDevWorkloadApi({
      socket: join(folder, 'identity', 'w.sock'),
      domain: await createDevTrustDomain({ name: 'dev.local', clock: systemClock }),
      identities: [{ id: '/agent' }],
    });
    t.teardown(() => api[Symbol.asyncDispose]());
    const { config } = configured(t, api.endpoint);
    const text = readFileSync(config, 'utf8');
    await using ending = startChaperone(['run', '-c', config]);
    const health = await portsOf(ending);
    await eventually(
      'ready',
      async () => (await http({ port: health['health'] ?? 0, path: '/readyz' })).status === 200,
    );
    api.failNext({ code: 'INVALID_ARGUMENT', calls: Infinity });
    api.endCalls({ code: 'INVALID_ARGUMENT', details: 'as told' });
    const { status, err } = await ending.ended;
    t.equal(status, 78, err);
    t.match(err, /answered FetchX509SVID with INVALID_ARGUMENT/);
    writeFileSync(config, text.replace('identity: {', 'identity: { onFinal: wait,'));
    api.heal();
    await using waiting = startChaperone(['run', '-c', config]);
    const port = (await portsOf(waiting))['health'] ?? 0;
    await eventually('ready', async () => (await http({ port, path: '/readyz' })).status === 200);
    api.failNext({ code: 'INVALID_ARGUMENT', calls: Infinity });
    api.endCalls({ code: 'INVALID_ARGUMENT', details: 'as told' });
    const page = await eventually('not ready', async () => {
      const { status: now, body } = await http({ port, path: '/readyz' });
      return now === 503 ? body : undefined;
    });
    t.match(page, /workload-api: not asked again/);
    t.match((await http({ port, path: '/metrics' })).body, /chaperone_workload_api_final 1/);
    t.equal(waiting.child.exitCode, null);
  },
);

t.test(
  'the log is one JSON object a line, names every place to connect, and tells nothing twice',
  async (t) => {
    const { config } = configured(t, 'unix:///nowhere/x.sock');
    await using sidecar = startChaperone(['run', '-c', config]);
    await portsOf(sidecar);
    sidecar.child.kill('SIGTERM');
    const { err } = await sidecar.ended;
    const lines = err.trim().split('\n');
    const messages = lines.map((line) => (JSON.parse(line) as { readonly msg: string }).msg);
    t.match(
      messages.find((msg) => msg.startsWith('listening: ')),
      /forward 127\.0\.0\.1:\d+/,
    );
    t.same(
      messages.filter((msg, i) => messages.indexOf(msg) !== i),
      [],
      'no line is there twice',
    );
  },
);

t.test(
  'while evidence cannot be written /readyz says so, and it recovers without traffic',
  { skip: !existsSync('/dev/full') && 'this system has no /dev/full' },
  async (t) => {
    await using workload = await testWorkload();
    const { config, audit } = configured(t, workload.endpoint, {
      upstream: workload.upstreams.crm.address,
    });
    await using sidecar = startChaperone(['run', '-c', config]);
    const { health, forward } = await portsOf(sidecar);
    const ready = async (): Promise<Asked> => http({ port: health ?? 0, path: '/readyz' });
    await eventually('it is ready', async () => (await ready()).status === 200);
    renameSync(audit, `${audit}.good`);
    symlinkSync('/dev/full', audit);
    const refused = async (): Promise<boolean> =>
      (await http({ port: forward ?? 0, ...CUSTOMER })).status === 503;
    await eventually('requests are refused', refused);
    t.match(await ready(), { status: 503, body: /evidence: .*ENOSPC/ });
    renameSync(`${audit}.good`, audit);
    await eventually('it is ready again', async () => (await ready()).status === 200);
    t.match(readFileSync(audit, 'utf8'), /"event":"evidence-resumed","detail":\{"failures":\d+\}/);
    sidecar.child.kill('SIGTERM');
    t.equal((await sidecar.ended).status, 0);
  },
);
