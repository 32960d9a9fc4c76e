/**
 * The server's side of mutual TLS against real clients: who may call, who may not, and that nothing
 * of theirs is read before.
 */
import { once } from 'node:events';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { parsePeerPattern } from '../../lib/spiffe/pattern.ts';
import { connectTls } from '../../lib/tls/connect.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import {
  MALFORMED_LEAVES,
  testAuthority,
  type TestIssuer,
  type TestSvid,
} from '../support/authority.ts';
import { until } from '../support/until.ts';
import {
  accepting,
  dialled,
  domain,
  NEVER,
  policy,
  reached,
  settled,
  type Accepting,
} from './fixture.ts';

interface Caller {
  readonly socket: TLSSocket;
  /** Whether the handshake was done on the caller's side. */
  secured(): boolean;
  gone(): Promise<unknown>;
}

/** A client of node:tls that shows `svid`, verifies nobody, and speaks at once. */
async function calling(
  server: Accepting,
  svid: TestSvid | undefined,
  options: ConnectionOptions = {},
): Promise<Caller> {
  const own = svid === undefined ? {} : { cert: svid.certificatesPem, key: svid.privateKeyPem };
  const socket = connect({
    socket: await dialled(server),
    ...own,
    rejectUnauthorized: false,
    ...options,
  });
  let secured = false;
  socket.on('error', () => 'a refused caller sees a reset or an alert');
  const closed = new Promise((done) => socket.once('close', done));
  socket.on('end', () => socket.destroy());
  socket.once('secureConnect', () => {
    secured = true;
    socket.write('GET /secret HTTP/1.1\r\n\r\n');
  });
  return { socket, secured: () => secured, gone: () => (socket.resume(), closed) };
}

async function refusedFault(server: Accepting, caller: Caller): Promise<Fault> {
  const { fault } = await server.outcome;
  if (fault === undefined) throw new Error('the caller was accepted');
  await caller.gone();
  return fault;
}

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(
    `accepts an expected caller, hands out no usable ticket and reads what it says (${maxVersion})`,
    async (t) => {
      const { authority, identity } = await domain();
      const svid = await authority.svid('/caller');
      let session: Buffer | undefined;
      for (let n = 0; n < 2; n += 1) {
        await using server = await accepting({ identity, alpn: ['http/1.1'] });
        const caller = await calling(server, svid, {
          maxVersion,
          ALPNProtocols: ['h2', 'http/1.1'],
          ...(session && { session }),
        });
        caller.socket.on('session', (one: Buffer) => (session = one));
        const { socket, peer } = reached(await server.outcome);
        t.match(peer, {
          spiffeId: 'spiffe://example.org/caller',
          serial: svid.leaf.serialNumber,
          protocol: maxVersion,
        });
        t.equal(peer.notAfter, svid.x509Svid.notAfter);
        t.equal(socket.alpnProtocol, 'http/1.1');
        t.match(String(await once(socket, 'data')), /^GET \/secret/);
        t.notOk(caller.socket.isSessionReused());
        socket.end('bye');
        t.equal(String(await once(caller.socket, 'data')), 'bye');
        caller.socket.destroy();
      }
    },
  );
}

t.test('both of our sides together: connectTls and acceptTls', async (t) => {
  const { authority, identity } = await domain();
  const ours = authority.identity(await authority.svid('/caller'));
  await using server = await accepting({ identity });
  const connecting = settled(
    connectTls(await dialled(server), {
      tls: policy({ peers: ['spiffe://example.org/ours'] }),
      host: 'crm.internal',
      identity: ours,
      contexts: tlsContexts(),
      signal: NEVER,
      now: Date.now,
    }),
  );
  const [near, far] = [reached(await connecting), reached(await server.outcome)];
  t.equal(near.peer.serial, identity.svid.serial);
  t.equal(far.peer.serial, ours.svid.serial);
  near.socket.destroy();
  far.socket.destroy();
});

for (const { rule, title, options, pathOrId } of MALFORMED_LEAVES) {
  t.test(`refuses a caller whose leaf has ${title} (${rule}, A14)`, async (t) => {
    const { authority, identity } = await domain();
    await using server = await accepting({
      identity,
      callers: [parsePeerPattern('spiffe://example.org/**')],
    });
    const caller = await calling(server, await authority.svid(pathOrId ?? '/caller', options));
    const fault = await refusedFault(server, caller);
    t.match(fault, { code: 'client-tls', message: /^the caller from 127\.0\.0\.1 / });
  });
}

t.test(
  'refuses a caller without a certificate, with another ID, and of another authority',
  async (t) => {
    const other = await testAuthority({ trustDomain: 'other.test' });
    const { authority, identity } = await domain(other);
    const cases: readonly (readonly [TestSvid | undefined, RegExp])[] = [
      [undefined, /presented no certificate|did not return a certificate|closed/],
      [
        await authority.svid('/stranger'),
        /is spiffe:\/\/example\.org\/stranger.*expected spiffe:\/\/example\.org\/caller/,
      ],
      [await other.svid('/caller'), /no trust anchor/],
      [await other.svid('spiffe://example.org/caller'), /no trust anchor/],
    ];
    for (const [svid, message] of cases) {
      await using server = await accepting({ identity });
      const fault = await refusedFault(server, await calling(server, svid));
      t.match(fault, { code: 'client-tls', message }, fault.message);
    }
  },
);

t.test(
  'callers of several trust domains are each verified with their own anchors alone (X-09)',
  async (t) => {
    const other = await testAuthority({ trustDomain: 'other.test' });
    const { authority, identity } = await domain(other);
    const callers = ['spiffe://example.org/caller', 'spiffe://other.test/**'].map(parsePeerPattern);
    const good: readonly TestIssuer[] = [
      authority,
      other,
      await other.intermediate({ pathLength: 0 }),
    ];
    for (const issuer of good) {
      await using server = await accepting({ identity, callers });
      const caller = await calling(server, await issuer.svid('/caller'));
      const { socket, peer } = reached(await server.outcome);
      t.equal(peer.spiffeId, `spiffe://${issuer.trustDomain}/caller`);
      socket.destroy();
      await caller.gone();
    }
    const impostors = [
      await other.svid('spiffe://example.org/caller'),
      await authority.svid('spiffe://other.test/caller'),
      await (await other.intermediate()).svid('spiffe://example.org/caller'),
    ];
    for (const svid of impostors) {
      await using server = await accepting({ identity, callers });
      const fault = await refusedFault(server, await calling(server, svid));
      t.match(
        fault,
        { code: 'client-tls', message: /no trust anchor/ },
        `${svid.id}: ${fault.message}`,
      );
    }
  },
);

t.test(
  'takes a caller below an anchor that is not self-signed (X-30), and sees the intermediates sent',
  async (t) => {
    const root = await testAuthority();
    const anchor = await root.intermediate();
    const identity = root.identity(await root.svid('/ours'), [anchor]);
    await using server = await accepting({ identity });
    const caller = await calling(server, await (await anchor.intermediate()).svid('/caller'));
    const { socket, peer } = reached(await server.outcome);
    t.equal(peer.spiffeId, 'spiffe://example.org/caller');
    socket.destroy();
    await caller.gone();
    await using strict = await accepting({ identity });
    const bad = await anchor.intermediate({ uris: ['spiffe://example.org/ca'] });
    t.match(await refusedFault(strict, await calling(strict, await bad.svid('/caller'))), {
      message: /with a path/,
    });
  },
);

t.test('no callers, no anchors or no identity: nobody is answered', async (t) => {
  const { authority, identity } = await domain();
  const cases = [
    [{ identity, callers: [] }, 'no-trust-bundle'],
    [{ identity, callers: [parsePeerPattern('spiffe://unknown.test/caller')] }, 'no-trust-bundle'],
    [{ identity: undefined }, 'no-identity'],
    [{ identity, now: () => identity.svid.notAfter }, 'identity-expired'],
  ] as const;
  for (const [options, code] of cases) {
    await using server = await accepting(options);
    const caller = await calling(server, await authority.svid('/caller'));
    t.match(await refusedFault(server, caller), { code });
    t.notOk(caller.secured(), 'not one byte of a handshake');
  }
});

t.test(
  'garbage, silence, half a handshake and a reset end in a Fault and leave no socket',
  async (t) => {
    const { identity } = await domain();
    const reason = new Fault('request-timeout', 'no handshake within 10 s');
    {
      await using server = await accepting({ identity });
      const raw = await dialled(server);
      raw.write('GET / HTTP/1.1\r\n\r\n');
      t.match((await server.outcome).fault, { code: 'client-tls' });
      raw.resume();
      await until('the caller is let go', () => raw.readableEnded || raw.destroyed);
      raw.destroy();
    }
    {
      await using server = await accepting({ identity });
      const raw = await dialled(server);
      raw.end(Buffer.from('1603010200010001fc0303', 'hex'));
      t.match((await server.outcome).fault, { code: 'client-tls' }, 'the caller ended its side');
      raw.resume();
      await until('the caller is let go', () => raw.readableEnded || raw.destroyed);
      raw.destroy();
    }
    {
      await using server = await accepting({ identity });
      (await dialled(server)).resetAndDestroy();
      t.match((await server.outcome).fault, { code: 'client-tls' });
    }
    {
      const late = new AbortController();
      await using server = await accepting({ identity, signal: late.signal });
      const raw = await dialled(server);
      raw.resume();
      late.abort(reason);
      t.equal((await server.outcome).fault, reason);
      await until('the caller is let go', () => raw.readableEnded || raw.destroyed);
      raw.destroy();
    }
  },
);
