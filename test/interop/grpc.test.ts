/**
 * gRPC and HTTP/2 of other make on both sides of the proxy: grpc-go, curl and nghttp2 as clients,
 * grpc-go as the mTLS upstream that ends its connections all the time.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { unpaired } from '../support/audit.ts';
import { type TestAuthority, testAuthority } from '../support/authority.ts';
import { rule, testDestination } from '../support/destination.ts';
import { SERVICE, grpcClient, grpcServer } from '../support/grpc.ts';
import { testProxy } from '../support/proxy.ts';
import type { Rule } from '../support/service.ts';
import { mtlsUpstream } from '../support/upstream.ts';
import t, { type Test } from 'tap';

const run = promisify(execFile);

function has(command: string, ...args: readonly string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const RULES: readonly Rule[] = [
  {
    name: 'calls',
    effect: 'allow',
    action: 'read',
    http: undefined,
    grpc: {
      services: new Set([SERVICE]),
      methods: new Set(['Get', 'Fail', 'Hang', 'Chat', 'List', 'Sum']),
    },
    when: undefined,
  },
];

function billing(upstream: { readonly port: number }): Destination {
  const at = { host: '127.0.0.1', port: upstream.port };
  const wanted = {
    name: 'billing',
    hosts: ['billing.internal'],
    listen: true,
    upstream: at,
    rules: RULES,
  } as const;
  return {
    ...testDestination({ ...wanted, protocol: 'grpc', limits: { concurrent: 1000 } }),
    http2: true,
  };
}

async function program(t: Test): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'grpc-go-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const built = join(folder, 'grpcgo');
  await run('go', ['build', '-mod=readonly', '-o', built, '.'], {
    cwd: join(import.meta.dirname, 'grpcgo'),
  });
  return built;
}

/** grpc-go as `/upstream`, over mutual TLS. */
async function goServer(
  t: Test,
  built: string,
  authority: TestAuthority,
): Promise<{ readonly port: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'grpc-go-svid-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const svid = await authority.svid('/upstream');
  const files = { cert: svid.certificatesPem, key: svid.privateKeyPem, ca: authority.pem };
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(folder, `${name}.pem`), text);
  const paths = Object.keys(files).map((name) => join(folder, `${name}.pem`));
  const server = spawn(built, ['serve', ...paths], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => server.kill());
  const [line] = (await once(server.stdout, 'data')) as [Buffer];
  return { port: Number(line.toString().trim().split(':').at(-1)) };
}

const STORY = new RegExp(
  [
    '^unary invoice \\[kept\\] <nil>',
    'fail NotFound no invoice “7”',
    'denied PermissionDenied no rule of destination billing allows ' +
      'billing\\.v1\\.Invoices/Denied; .*',
    'deadline DeadlineExceeded',
    'large 8388608 <nil>',
    'chat 100 EOF',
    'load true 0',
    '$',
  ].join('\n'),
);

t.test('grpc-go', { skip: !has('go', 'version') && 'there is no Go toolchain' }, async (t) => {
  const built = await program(t);
  const authority = await testAuthority();

  await t.test(
    'as client and as upstream: no call is lost while it ends its connections',
    async (t) => {
      const upstream = await goServer(t, built, authority);
      await using proxy = await testProxy({ authority, destinations: [billing(upstream)] });
      const { stdout } = await run(built, ['call', `127.0.0.1:${proxy.port('billing')}`]);
      t.match(stdout, STORY);
      await proxy.quiet();
      t.same(unpaired(proxy.audit.records), []);
      t.match(proxy.audit.of('ended')[0], { peer: 'spiffe://example.org/upstream', grpcStatus: 0 });
    },
  );

  await t.test('as upstream of grpc-js', async (t) => {
    const upstream = await goServer(t, built, authority);
    await using proxy = await testProxy({ authority, destinations: [billing(upstream)] });
    await using client = grpcClient(proxy.port('billing'));
    t.match(await client.unary('Get', 'x'), { value: 'x', code: 0 });
    t.match(await client.unary('Fail', 'x'), { code: 5, details: 'no invoice “7”' });
  });
});

const H2LOAD = has('h2load', '--version');
const CURL = has('curl', '--http2-prior-knowledge', '--version');

t.test('curl by prior knowledge', { skip: !CURL && 'there is no curl with HTTP/2' }, async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({ authority });
  const destination = testDestination({
    listen: true,
    upstream: { host: '127.0.0.1', port: upstream.port },
    rules: [rule('reads', 'allow', { methods: ['GET', 'POST'], paths: ['/v1/**'] })],
  });
  await using proxy = await testProxy({ authority, destinations: [destination] });
  const url = `http://127.0.0.1:${proxy.port('crm')}`;
  const curl = async (...args: readonly string[]): Promise<string> =>
    (await run('curl', ['-sS', '-i', '--http2-prior-knowledge', ...args])).stdout;
  t.match(await curl(`${url}/v1/a`), /^HTTP\/2 200 [^]*"url":"\/v1\/a"/);
  t.match(await curl('-d', 'content', `${url}/v1/b`), /^HTTP\/2 200 [^]*"body":"content"/);
  t.match(await curl(`${url}/v2`), /^HTTP\/2 403 [^]*no rule of destination crm/);
  t.match(await curl('-H', 'Host: evil.test', `${url}/v1/a`), /^HTTP\/2 421 /);
  await proxy.quiet();
  t.equal(proxy.audit.of('decided').length, 4);
});

t.test(
  'h2load: 64 streams at a time on 4 connections, all of them judged and recorded',
  { skip: !H2LOAD && 'there is no h2load' },
  async (t) => {
    const authority = await testAuthority();
    await using server = await grpcServer(authority);
    await using upstream = await mtlsUpstream({
      authority,
      http: (_, response) => void response.end('ok'),
    });
    const crm = testDestination({
      listen: true,
      upstream: { host: '127.0.0.1', port: upstream.port },
      limits: { concurrent: 1000 },
    });
    await using proxy = await testProxy({ authority, destinations: [crm, billing(server)] });
    const load = async (name: string, ...more: readonly string[]): Promise<string> => {
      const path = more.at(-1) ?? '/';
      const args = [
        '-n',
        '4000',
        '-c',
        '4',
        '-m',
        '16',
        ...more.slice(0, -1),
        `http://127.0.0.1:${proxy.port(name)}${path}`,
      ];
      return (await run('h2load', args)).stdout;
    };
    t.match(
      await load('crm', '/'),
      /4000 succeeded, 0 failed, 0 errored[^]*4000 2xx, 0 3xx, 0 4xx, 0 5xx/,
    );
    const message = join(mkdtempSync(join(tmpdir(), 'h2load-')), 'message');
    t.teardown(() => rmSync(join(message, '..'), { recursive: true, force: true }));
    writeFileSync(message, Buffer.from([0, 0, 0, 0, 4, 1, 2, 3, 4]));
    const call = [
      '-d',
      message,
      '-H',
      'content-type: application/grpc',
      '-H',
      'te: trailers',
      `/${SERVICE}/Get`,
    ];
    t.match(await load('billing', ...call), /4000 succeeded, 0 failed, 0 errored/);
    await proxy.quiet();
    t.equal(proxy.audit.of('decided').length, 8000);
    t.equal(
      proxy.audit.of('ended').filter((one) => 'grpcStatus' in one && one.grpcStatus === 0).length,
      4000,
    );
    t.same(unpaired(proxy.audit.records), []);
  },
);
