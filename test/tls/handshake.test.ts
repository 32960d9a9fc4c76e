/**
 * Handshakes that do not come about, refusals that arrive late, and the web modes; against real
 * servers.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { connectTls } from '../../lib/tls/connect.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import { tlsFault } from '../../lib/tls/faults.ts';
import { testAuthority } from '../support/authority.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import { until } from '../support/until.ts';
import { attempt, dialled, domain, NEVER, policy, reached, settled } from './fixture.ts';

const WHO = 'the upstream crm.internal';

/** node:tls's own server, which requires and verifies certificates by itself. */
async function tlsServer(
  options: TlsOptions,
): Promise<AsyncDisposable & { host: string; port: number }> {
  const server = createTlsServer(options, (socket) =>
    socket.on('error', () => 'expected').end('hello'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    host: '127.0.0.1',
    port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

/** What the first read says, as a Fault. */
async function firstRead(socket: Socket): Promise<Fault | string> {
  try {
    const [chunk]: unknown[] = await once(socket, 'data');
    return String(chunk);
  } catch (failure) {
    return tlsFault(failure, WHO);
  } finally {
    socket.destroy();
  }
}

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(
    `an upstream that refuses our certificate is told apart, at the latest by the first read (${maxVersion})`,
    async (t) => {
      const { authority, identity } = await domain();
      const { certificatesPem: cert, privateKeyPem: key } = await authority.svid('/upstream', {
        dns: ['crm.internal'],
      });
      await using server = await tlsServer({
        cert,
        key,
        maxVersion,
        requestCert: true,
        ca: [authority.pem],
      });
      const tls = policy({ mode: 'web', roots: [authority.pem] });
      const outcome = await attempt(server, { identity, tls });
      const told = outcome.fault ?? (await firstRead(outcome.connection.socket));
      t.match(told, {
        code: 'upstream-tls',
        message: /does not accept our certificate.*alert/,
        hint: /trust the bundle/,
      });
    },
  );
}

const openssl =
  spawnSync('openssl', ['version']).status === 0 ? false : 'the openssl command is not installed';

t.test(
  'the alert of an OpenSSL server that does not know our authority is told apart',
  { skip: openssl },
  async (t) => {
    const { authority, identity } = await domain();
    const stranger = await testAuthority({ trustDomain: 'stranger.test' });
    const svid = await authority.svid('/upstream');
    const folder = t.testdir({
      'a.pem': svid.certificatesPem,
      'a.key': svid.privateKeyPem,
      'ca.pem': stranger.pem,
    });
    const server = spawn(
      'openssl',
      [
        's_server',
        '-accept',
        '127.0.0.1:0',
        '-cert',
        'a.pem',
        '-key',
        'a.key',
        '-CAfile',
        'ca.pem',
        '-Verify',
        '1',
        '-verify_return_error',
      ],
      { cwd: folder, stdio: ['pipe', 'pipe', 'ignore'] },
    );
    t.teardown(() => server.kill('SIGKILL'));
    let said = '';
    server.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const port = Number(
      await until('it listens', () => /ACCEPT 127\.0\.0\.1:(\d+)/.exec(said)?.[1]),
    );
    const outcome = await attempt({ host: '127.0.0.1', port }, { identity });
    const told = outcome.fault ?? (await firstRead(outcome.connection.socket));
    t.match(told, {
      code: 'upstream-tls',
      message: /does not accept our certificate: it answered with the TLS alert/,
    });
  },
);

t.test(
  'an upstream that does not speak TLS, leaves or resets is told apart and leaves no socket',
  async (t) => {
    const { identity } = await domain();
    const cases: readonly (readonly [Parameters<typeof rawUpstream>[0], RegExp])[] = [
      [{ bytes: 'HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n' }, /not TLS/],
      [{ bytes: '' }, /closed the connection during the TLS handshake/],
      [
        { raw: (socket) => void socket.once('data', () => (socket as Socket).resetAndDestroy()) },
        /closed the connection/,
      ],
      [{ bytes: Buffer.from('150303000202' + '28', 'hex') }, /handshake failure|does not accept/],
      [{ bytes: Buffer.alloc(2000, 0x16) }, /TLS/],
    ];
    for (const [options, message] of cases) {
      await using upstream = await rawUpstream(options);
      const { fault } = await attempt(upstream, { identity });
      t.match(fault, { code: 'upstream-tls', message }, fault?.message ?? 'connected');
      await upstream.quiet();
      t.equal(upstream.connections[0]?.raw.bytes[0], 22, 'nothing but TLS was sent');
    }
  },
);

t.test(
  'an aborted signal ends a handshake that hangs with its own reason, and leaves no socket',
  async (t) => {
    const { identity } = await domain();
    await using upstream = await rawUpstream({ raw: (socket) => void socket.resume() });
    const late = new AbortController();
    const reason = new Fault('upstream-timeout', 'no answer within 5 s');
    const hanging = attempt(upstream, { identity, signal: late.signal });
    await until('the ClientHello is there', () => upstream.received() > 0);
    late.abort(reason);
    t.equal((await hanging).fault, reason);
    await until('the upstream sees the end', () => upstream.connections[0]?.socket.readableEnded);
    const before = upstream.received();
    t.equal(
      (await attempt(upstream, { identity, signal: late.signal })).fault,
      reason,
      'aborted before it begins',
    );
    t.equal(upstream.received(), before, 'nothing is sent');
  },
);

t.test('a socket that is closed already is a Fault, not a wait', async (t) => {
  const { identity } = await domain();
  await using upstream = await rawUpstream();
  const raw = await dialled(upstream);
  raw.destroy();
  const options = {
    tls: policy(),
    host: 'crm.internal',
    identity,
    contexts: tlsContexts(),
    signal: NEVER,
    now: Date.now,
  };
  t.match(await settled(connectTls(raw, options)), { fault: { code: 'upstream-tls' } });
});

t.test('a chain of more certificates than any peer needs is refused', async (t) => {
  const { authority, identity } = await domain();
  const svid = await authority.svid('/upstream');
  const padded = { ...svid, certificatesPem: svid.certificatesPem + authority.pem.repeat(12) };
  await using upstream = await mtlsUpstream({ authority, svid: padded });
  t.match(await attempt(upstream, { identity }), {
    fault: { code: 'upstream-tls', message: /more than 10/ },
  });
  await upstream.quiet();
  t.equal(upstream.received(), 0);
});

t.test(
  'the server name is the configured one, else the matched host, and never an address',
  async (t) => {
    const { authority, identity } = await domain();
    await using upstream = await mtlsUpstream({ authority });
    for (const [host, serverName] of [
      ['crm.internal', undefined],
      ['crm.internal', 'other.internal'],
      ['127.0.0.1', undefined],
      ['::1', undefined],
    ] as const) {
      const { socket } = reached(
        await attempt(upstream, { identity, host, tls: policy({ serverName }) }),
      );
      await once(socket, 'data');
      socket.destroy();
    }
    t.same(
      upstream.connections.map(({ serverName }) => serverName),
      ['crm.internal', 'other.internal', undefined, undefined],
    );
  },
);

t.test(
  'web modes verify the name against the roots, and only web-mtls shows our SVID',
  async (t) => {
    const { authority, identity } = await domain();
    const web = await testAuthority({ trustDomain: 'web.test' });
    const svid = await web.svid('/ignored', {
      uris: [],
      dns: ['crm.internal'],
      ips: ['127.0.0.1'],
      purposes: ['serverAuth'],
    });
    await using upstream = await mtlsUpstream({ authority, svid, client: 'accept' });
    const roots = [web.pem];
    const { socket, peer } = reached(
      await attempt(upstream, { identity, tls: policy({ mode: 'web', roots }) }),
    );
    t.match(peer, { spiffeId: undefined, serial: svid.leaf.serialNumber });
    await once(socket, 'data');
    socket.destroy();
    const shown = reached(
      await attempt(upstream, { identity, tls: policy({ mode: 'web-mtls', roots }) }),
    );
    await once(shown.socket, 'data');
    shown.socket.destroy();
    const byAddress = reached(
      await attempt(upstream, { identity, host: '127.0.0.1', tls: policy({ mode: 'web', roots }) }),
    );
    await once(byAddress.socket, 'data');
    byAddress.socket.destroy();
    t.same(
      upstream.connections.map(({ spiffeId }) => spiffeId),
      [undefined, 'spiffe://example.org/ours', undefined],
    );
    const before = upstream.received();
    for (const given of [
      { tls: policy({ mode: 'web', roots }), host: 'else.internal' },
      { tls: policy({ mode: 'web', roots, serverName: 'else.internal' }) },
      { tls: policy({ mode: 'web', roots }), host: '127.0.0.2' },
    ]) {
      const { fault } = await attempt(upstream, { identity, ...given });
      t.match(fault, {
        code: 'upstream-identity',
        message: /not the server asked for.*crm\.internal/,
        hint: /serverName/,
      });
    }
    t.match(
      await attempt(upstream, { identity, tls: policy({ mode: 'web' }) }),
      { fault: { code: 'upstream-tls' } },
      'system roots',
    );
    t.match(await attempt(upstream, { identity, tls: policy({ mode: 'web', roots: [] }) }), {
      fault: { code: 'no-trust-bundle' },
    });
    t.match(
      await attempt(upstream, { identity, tls: policy({ mode: 'web', roots: [authority.pem] }) }),
      {
        fault: { code: 'upstream-tls' },
      },
    );
    t.equal(upstream.received(), before, 'no application byte for any of them');
  },
);

t.test(
  'certificates of NODE_EXTRA_CA_CERTS widen the web modes and never SPIFFE trust',
  async (t) => {
    const { authority } = await domain();
    const extra = await testAuthority();
    await using upstream = await mtlsUpstream({
      authority,
      svid: await extra.svid('/upstream', { dns: ['crm.internal'] }),
      client: 'accept',
    });
    const folder = t.testdir();
    const file = join(folder, 'extra.pem');
    writeFileSync(file, extra.pem);
    const script = `
    import { attempt, domain, policy } from ${JSON.stringify(resolve('test/tls/fixture.ts'))};
    const { identity } = await domain();
    const empty = { ...identity, bundles: new Map([['example.org', { trustDomain: 'example.org', anchors: [] }]]) };
    for (const [mode, who] of [['web', identity], ['mtls', identity], ['mtls', empty]]) {
      const to = { host: '127.0.0.1', port: ${upstream.port} };
      const { connection, fault } = await attempt(to, { identity: who, tls: policy({ mode }) });
      console.log(connection === undefined ? fault.code : 'connected');
      connection?.socket.destroy();
    }`;
    const run = (env: NodeJS.ProcessEnv): Promise<string> =>
      new Promise((done, fail) => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
          env: { ...process.env, ...env },
        });
        let out = '';
        child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
        child.stderr.on('data', (chunk: Buffer) => (out += chunk.toString()));
        child.once('error', fail).once('close', () => done(out));
      });
    t.equal(await run({ NODE_EXTRA_CA_CERTS: file }), 'connected\nupstream-tls\nno-trust-bundle\n');
    t.equal(
      await run({ SSL_CERT_FILE: file, NODE_OPTIONS: '--use-openssl-ca' }),
      'connected\nupstream-tls\nno-trust-bundle\n',
    );
  },
);

t.test('what a TLS error means is said in words', async (t) => {
  const meant = (message: string, code?: string): string =>
    tlsFault(Object.assign(new Error(message), code === undefined ? {} : { code }), WHO).message;
  t.match(
    meant('x', 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA'),
    /does not accept our certificate.*alert unknown ca/,
  );
  t.match(meant('ssl/tls alert bad certificate'), /does not accept our certificate/);
  t.match(
    meant('tlsv13 alert certificate required'),
    /does not accept our certificate.*alert certificate required/,
  );
  t.match(
    meant('tlsv1 alert protocol version'),
    /ended the TLS handshake with the alert protocol version/,
  );
  t.match(meant('read', 'ECONNRESET'), /closed the connection/);
  const fault = new Fault('client-gone', 'left');
  t.equal(tlsFault(fault, WHO), fault, 'a Fault stays what it is');
});
