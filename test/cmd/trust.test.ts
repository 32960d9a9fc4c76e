/**
 * `chaperone trust`, and the sidecar that it asks: an agent that loads what is written reaches an
 * intercepted host, also after a restart of the sidecar.
 */
import { X509Certificate } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { proxyVariables } from '../../cmd/environment.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { openInterception } from '../../lib/interception/authority.ts';
import {
  chaperone,
  eventually,
  startChaperone,
  type ProgramEnd,
  type TestProgram,
} from '../support/program.ts';
import { crmDocument, documents, sidecarDocument } from '../support/documents.ts';
import { type TestWorkload, testWorkload } from '../support/workload.ts';

t.setTimeout(600_000);

/** A port that nothing listens on now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function configured(
  workload: TestWorkload,
  intercept: string,
): Promise<{ config: string; forward: number }> {
  const [forward, health] = [await freePort(), await freePort()];
  const config = join(workload.folder, 'chaperone.yaml');
  writeFileSync(
    config,
    documents(
      sidecarDocument({
        endpoint: workload.endpoint,
        spiffeId: 'spiffe://dev.local/agent',
        forward: `127.0.0.1:${forward}`,
        more: `  health: { address: '0.0.0.0:${health}' }
  audit: { sinks: [{ file: ${workload.folder}/audit.jsonl }] }
  defaults: { task: optional }
  drain: 1s
${intercept}`,
      }),
      crmDocument({
        address: workload.upstreams.crm.address,
        port: 443,
        tls: ', intercept: true',
        more: `  rules:
    - { name: read, effect: allow, action: read, http: { methods: [GET], paths: [/v1/customers/**] } }`,
      }),
    ),
  );
  return { config, forward };
}

async function running(config: string): Promise<TestProgram> {
  const one = startChaperone(['run', '-c', config]);
  await eventually('listening', () => /listening: /.test(one.text()) || undefined);
  await eventually('identity', () => /generation \d+: spiffe:/.test(one.text()) || undefined);
  return one;
}

/** Node's own fetch as an agent: it knows the variables and nothing else. */
function agent(url: string, env: Readonly<Record<string, string>>): Promise<ProgramEnd> {
  const program =
    'fetch(process.argv[1]).then(async (r) => console.log(r.status, await r.text()), (e) ' +
    '=> console.log(e.cause?.code ?? e.message))';
  const child = spawn(process.execPath, ['-e', program, url], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((settle) => child.on('close', (status) => settle({ status, out, err })));
}

t.test(
  'trust writes what the sidecar shows, and programs that load it are judged inside their own TLS',
  async (t) => {
    await using workload = await testWorkload();
    const { config, forward } = await configured(
      workload,
      '  intercept: { domains: [crm.internal] }',
    );
    await using sidecar = await running(config);
    const dir = join(workload.folder, 'trust');
    const { status, out, err } = await chaperone([
      'trust',
      '-c',
      config,
      '--dir',
      dir,
      '--format',
      'json',
    ]);
    t.equal(status, 0, err);
    t.match(err, /wrote ca\.pem, bundle\.pem, truststore\.p12/);
    const variables = JSON.parse(out) as Record<string, string>;
    t.equal(variables['NODE_EXTRA_CA_CERTS'], join(dir, 'ca.pem'));
    t.equal(variables['SSL_CERT_FILE'], join(dir, 'bundle.pem'));
    for (const name of readdirSync(dir))
      t.equal(lstatSync(join(dir, name)).mode & 0o777, 0o644, name);
    const written = readdirSync(dir)
      .map((name) => readFileSync(join(dir, name), 'latin1'))
      .join('');
    t.notMatch(written, /PRIVATE KEY/);
    const bundle = readFileSync(join(dir, 'bundle.pem'), 'utf8');
    t.ok(
      (bundle.match(/BEGIN CERTIFICATE/g) ?? []).length > 50,
      'the roots of the system are there too',
    );
    t.ok(bundle.endsWith(readFileSync(join(dir, 'ca.pem'), 'utf8')));

    const env = { ...proxyVariables(`http://127.0.0.1:${forward}`), ...variables };
    t.match((await agent('https://crm.internal/v1/customers/1001', env)).out, /^200 .*Ada Engines/);
    t.match(
      (await agent('https://crm.internal/v1/export/customers', env)).out,
      /^403 .*no rule of destination crm allows GET/,
    );
    const untrusting = await agent('https://crm.internal/v1/customers/1001', {
      ...env,
      NODE_EXTRA_CA_CERTS: '',
    });
    t.match(untrusting.out, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED|UNABLE_TO_GET_ISSUER/);
    const records = readFileSync(join(workload.folder, 'audit.jsonl'), 'utf8');
    t.match(records, /"event":"interception-authority"[^\n]*"fingerprint":/);
    t.match(records, /"outcome":"client-tls","reason":"the agent (does not trust|completed no)/);
    t.notMatch(records, /PRIVATE KEY|Ada Engines/);
    t.notMatch(sidecar.text(), /PRIVATE KEY/);
  },
);

t.test(
  'with folders for key and bundles a restarted sidecar serves programs that loaded the CA before',
  async (t) => {
    await using workload = await testWorkload();
    const folders =
      `  intercept: { domains: [crm.internal], ca: { folder: ${workload.folder}/ca }, trust: { ` +
      `folder: ${workload.folder}/trust } }`;
    const { config, forward } = await configured(workload, folders);
    const printed = await chaperone([
      'trust',
      '-c',
      config,
      '--mount',
      '/trust',
      '--format',
      'dotenv',
    ]);
    t.match(printed.out, /^NODE_EXTRA_CA_CERTS=\/trust\/ca\.pem$/m);
    t.match(
      printed.out,
      /^JAVA_TOOL_OPTIONS="-Djavax\.net\.ssl\.trustStore=\/trust\/truststore\.p12 -D/m,
    );
    const all = await chaperone(['env', '-c', config]);
    t.match(
      all.out,
      new RegExp(`^export SSL_CERT_FILE='${workload.folder}/trust/bundle\\.pem'$`, 'm'),
    );

    const loaded = join(workload.folder, 'loaded.pem');
    const env = { ...proxyVariables(`http://127.0.0.1:${forward}`), NODE_EXTRA_CA_CERTS: loaded };
    for (const time of ['first', 'second']) {
      await using sidecar = await running(config);
      const ca = readFileSync(join(workload.folder, 'trust', 'ca.pem'), 'utf8');
      if (time === 'first') writeFileSync(loaded, ca);
      else
        t.not(
          new X509Certificate(ca).serialNumber,
          new X509Certificate(readFileSync(loaded)).serialNumber,
        );
      t.match((await agent('https://crm.internal/v1/customers/1001', env)).out, /^200 /, time);
      sidecar.child.kill('SIGTERM');
      t.equal((await sidecar.ended).status, 0, time);
    }
  },
);

t.test(
  'a folder of the key that others may enter refuses to start, and says what to do',
  async (t) => {
    await using workload = await testWorkload();
    const ca = join(workload.folder, 'ca');
    mkdirSync(ca);
    chmodSync(ca, 0o755);
    const { config } = await configured(
      workload,
      `  intercept: { domains: [crm.internal], ca: { folder: ${ca} } }`,
    );
    const { status, err } = await chaperone(['run', '-c', config]);
    t.equal(status, 74);
    t.match(err, /is open to others \(mode 755\); chmod 700 it/);
  },
);

t.test(
  'what cannot be done is said: no interception, no folder, no sidecar, no such format',
  async (t) => {
    await using workload = await testWorkload();
    const { config } = await configured(workload, '  intercept: { domains: [crm.internal] }');
    const rows: readonly (readonly [readonly string[], number, RegExp])[] = [
      [['--format', 'xml'], 64, /there is no format xml; say shell, dotenv or json/],
      [[], 64, /there is no folder to write to; say --dir/],
      [
        ['--dir', join(workload.folder, 'x')],
        71,
        /interception-ca\.pem did not answer with the CA: .*is the sidecar running/,
      ],
      [['--dir', join(workload.folder, 'x'), '--ca', config], 65, /gave no certificate of a CA/],
    ];
    for (const [args, status, message] of rows) {
      const ended = await chaperone(['trust', '-c', config, ...args]);
      t.equal(ended.status, status, args.join(' '));
      t.match(ended.err, message);
    }
    const plain = join(workload.folder, 'plain.yaml');
    await chaperone(['init', plain]);
    t.match(
      (await chaperone(['trust', '-c', plain])).err,
      /nothing is intercepted: there is no CA to trust/,
    );
  },
);

t.test(
  'explain says what an https:// URL comes to, the tunnel or the request inside',
  async (t) => {
    await using workload = await testWorkload();
    const { config } = await configured(workload, '  intercept: { domains: [crm.internal] }');
    const explained = async (...args: readonly string[]): Promise<string> =>
      (await chaperone(['explain', '-c', config, ...args])).out;
    t.match(
      await explained('GET', 'https://crm.internal/v1/customers/7'),
      /^allow[^]*judged: intercept, crm\.internal port 443, GET \/v1\/customers\/7/,
    );
    t.match(
      await explained('DELETE', 'https://crm.internal/v1/customers/7'),
      /^deny \(no-rule-matched\)/,
    );
    t.match(
      await explained('GET', 'https://other.internal/'),
      /^deny \(unlisted\)[^]*judged: connect/,
    );
    t.match(await explained('CONNECT', 'crm.internal:443'), /^allow[^]*is intercepted/);
  },
);

t.test(
  'trust --nss writes the database of browsers, and says what to install where certutil is missing',
  async (t) => {
    await using workload = await testWorkload();
    const { config } = await configured(workload, '  intercept: { domains: [crm.internal] }');
    using authority = await openInterception({
      domains: ['crm.internal'],
      folder: undefined,
      clock: systemClock,
    });
    const ca = join(workload.folder, 'own.pem');
    writeFileSync(ca, authority.authority().toString());
    const nss = join(workload.folder, 'pki', 'nssdb');
    const args = ['trust', '-c', config, '--ca', ca, '--nss', nss];
    const without = await chaperone(args, { PATH: workload.folder });
    t.equal(without.status, 74);
    t.match(
      without.err,
      /there is no certutil; install libnss3-tools \(Debian, Ubuntu\), nss-tools/,
    );
    const here = spawnSync('certutil', ['--version']).error === undefined;
    await t.test(
      'with certutil',
      { skip: here ? false : 'not on this machine: certutil' },
      async (t) => {
        for (const time of ['first', 'again']) {
          const { status, err } = await chaperone(args);
          t.equal(status, 0, err);
          const listed = spawnSync('certutil', ['-L', '-d', `sql:${nss}`], {
            encoding: 'utf8',
          }).stdout;
          t.same(listed.match(/chaperone interception +\S+/g)?.length, 1, time);
          t.match(listed, /chaperone interception +C,,/);
        }
      },
    );
  },
);
