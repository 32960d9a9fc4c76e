/**
 * The client's side of mutual TLS against real servers: who is let through, who is not, and that
 * nobody else gets a byte.
 */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import t from 'tap';
import { tlsContexts } from '../../lib/tls/context.ts';
import { certificatesPem as pemOf, newKeys } from '../../lib/interception/issue.ts';
import {
  MALFORMED_LEAVES,
  testAuthority,
  type LeafOptions,
  type TestIssuer,
} from '../support/authority.ts';
import {
  mtlsUpstream,
  rawUpstream,
  type MtlsUpstream,
  type MtlsUpstreamOptions,
} from '../support/upstream.ts';
import { until } from '../support/until.ts';
import { attempt, domain, policy, reached } from './fixture.ts';

/** The fault of an attempt, and the certainty that the upstream got no application byte. */
async function refused(
  upstream: MtlsUpstream,
  outcome: Awaited<ReturnType<typeof attempt>>,
): Promise<{ code: string; message: string; hint: string | undefined }> {
  await upstream.quiet();
  if (upstream.received() !== 0)
    throw new Error(`the upstream received ${upstream.received()} bytes`);
  const { fault } = outcome;
  if (fault === undefined) throw new Error('it was connected');
  return fault;
}

t.test(
  'connects to the expected peer with TLS 1.3 and a hybrid group, and shows our SVID',
  async (t) => {
    const { authority, identity } = await domain();
    await using upstream = await mtlsUpstream({ authority, alpn: ['h2', 'http/1.1'] });
    const { socket, peer } = reached(await attempt(upstream, { identity, alpn: ['http/1.1'] }));
    t.match(peer, {
      spiffeId: 'spiffe://example.org/upstream',
      serial: upstream.svid.leaf.serialNumber,
      notAfter: upstream.svid.x509Svid.notAfter,
      protocol: 'TLSv1.3',
      group: 'X25519MLKEM768',
    });
    t.match(String(await once(socket, 'data')), /^HTTP\/1.1 200/);
    t.match(upstream.connections[0], {
      state: 'accepted',
      spiffeId: 'spiffe://example.org/ours',
      serial: identity.svid.serial,
      serverName: 'crm.internal',
      alpn: 'http/1.1',
    });
    socket.destroy();
  },
);

t.test(
  'connects with TLS 1.2 and with other groups where the peer has nothing better, never with less',
  async (t) => {
    const { authority, identity } = await domain();
    const tls = async (options: MtlsUpstreamOptions['tls']) => {
      await using upstream = await mtlsUpstream({ authority, tls: { ...options } });
      const outcome = await attempt(upstream, { identity });
      outcome.connection?.socket.destroy();
      return outcome;
    };
    t.match(reached(await tls({ maxVersion: 'TLSv1.2' })).peer, { protocol: 'TLSv1.2' });
    t.match(reached(await tls({ ecdhCurve: 'X25519' })).peer, { group: 'X25519' });
    t.match(reached(await tls({ ecdhCurve: 'P-256' })).peer, { protocol: 'TLSv1.3' });
    t.match(
      (await tls({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }))
        .fault,
      {
        code: 'upstream-tls',
        hint: /TLS 1\.2 or 1\.3/,
      },
    );
  },
);

for (const { rule, title, options, pathOrId } of MALFORMED_LEAVES) {
  t.test(`refuses an upstream whose leaf has ${title} (${rule}, A14)`, async (t) => {
    const { authority, identity } = await domain();
    await using upstream = await mtlsUpstream({
      authority,
      id: pathOrId ?? '/agent',
      leaf: options,
    });
    const peers = ['spiffe://example.org/**'];
    const fault = await refused(
      upstream,
      await attempt(upstream, { identity, tls: policy({ peers }) }),
    );
    t.match(fault.code, /^upstream-(tls|identity)$/);
    t.match(fault.message, /the upstream crm\.internal .*(it presented|is spiffe:)/, fault.message);
  });
}

const chained = async (
  intermediate: Parameters<TestIssuer['intermediate']>[0],
  leaf: LeafOptions = {},
) => {
  const { authority, identity } = await domain();
  const issuer = await authority.intermediate(intermediate);
  await using upstream = await mtlsUpstream({
    authority,
    svid: await issuer.svid('/upstream', leaf),
  });
  const outcome = await attempt(upstream, { identity });
  if (outcome.connection !== undefined) {
    await until('the upstream has its bytes', () => upstream.received() > 0);
    outcome.connection.socket.destroy();
    return outcome.connection;
  }
  const fault = await refused(upstream, outcome);
  return fault;
};

t.test('takes a chain through an intermediate that keeps every rule (X-08)', async (t) => {
  t.match(await chained({}), { peer: { spiffeId: 'spiffe://example.org/upstream' } });
  t.match(
    await chained({
      permittedUriHosts: ['example.org'],
      pathLength: 0,
      uris: ['spiffe://example.org'],
    }),
    {
      peer: { spiffeId: 'spiffe://example.org/upstream' },
    },
  );
});

t.test(
  'takes a chain through an intermediate of another trust domain, with the anchors of its own (X-21)',
  async (t) => {
    t.match(await chained({ uris: ['spiffe://other.test'] }), {
      peer: { spiffeId: 'spiffe://example.org/upstream' },
    });
  },
);

t.test('an upstream may send its root along, whatever that looks like (X-08)', async (t) => {
  const { authority } = await domain();
  const root = await authority.intermediate({ keyUsage: 'absent' });
  const identity = authority.identity(await authority.svid('/ours'), [root]);
  await using upstream = await mtlsUpstream({ authority, svid: await root.svid('/upstream') });
  const { socket, peer } = reached(await attempt(upstream, { identity }));
  t.equal(peer.spiffeId, 'spiffe://example.org/upstream');
  socket.destroy();
});

t.test(
  'what a peer sends along and had expired before says nothing of how long it is good',
  async (t) => {
    const { authority } = await domain();
    const keys = await newKeys();
    const subject = 'O=Chaperone test, CN=renewed';
    const [before, now] = await Promise.all([
      authority.intermediate({ keys, subject, ...PAST }),
      authority.intermediate({ keys, subject }),
    ]);
    const identity = authority.identity(await authority.svid('/ours'));
    const right = await now.svid('/upstream');
    const [leaf = new Uint8Array(), issuer = new Uint8Array()] = right.certificates;
    for (const certificates of [
      [leaf, before.certificate, issuer],
      [leaf, issuer, before.certificate],
    ]) {
      const certificatesPem = pemOf(certificates);
      await using upstream = await mtlsUpstream({
        authority,
        svid: { ...right, certificates, certificatesPem },
      });
      const { socket, peer } = reached(await attempt(upstream, { identity }));
      const ends = [right.leaf, new X509Certificate(issuer)].map(({ validToDate }) =>
        validToDate.getTime(),
      );
      t.equal(peer.notAfter, Math.min(...ends));
      socket.destroy();
    }
  },
);

const PAST = { notBefore: Date.UTC(2024, 0, 1), notAfter: Date.UTC(2024, 0, 2) };

const BAD_INTERMEDIATES: readonly (readonly [
  string,
  Parameters<TestIssuer['intermediate']>[0],
  RegExp,
])[] = [
  ['that has expired (X-08)', PAST, /CERT_HAS_EXPIRED/],
  ['that is no CA (X-20)', { ca: false }, /INVALID_CA|INVALID_PURPOSE|not valid/],
  [
    'that may not sign certificates (X-20)',
    { keyUsage: ['digitalSignature'] },
    /not valid|INVALID/,
  ],
  ['without a key usage (X-20)', { keyUsage: 'absent' }, /keyCertSign/],
  ['whose own SPIFFE ID has a path (X-21)', { uris: ['spiffe://example.org/ca'] }, /with a path/],
  ['whose key usage is not critical (X-20)', { keyUsageCritical: false }, /not critical/],
  [
    'that permits names of another domain alone (X-22)',
    { permittedUriHosts: ['other.test'] },
    /not trusted/,
  ],
];

for (const [title, intermediate, expected] of BAD_INTERMEDIATES) {
  t.test(`refuses a chain through an intermediate ${title}`, async (t) => {
    t.match(await chained(intermediate), { code: /^upstream-/, message: expected });
  });
}

t.test('refuses a chain longer than a CA of it allows (X-22)', async (t) => {
  const { authority, identity } = await domain();
  const last = await (await authority.intermediate({ pathLength: 0 })).intermediate();
  await using upstream = await mtlsUpstream({ authority, svid: await last.svid('/upstream') });
  const fault = await refused(upstream, await attempt(upstream, { identity }));
  t.match(fault, { code: 'upstream-tls', message: /PATH_LENGTH_EXCEEDED/ });
});

t.test(
  'takes an anchor that is not self-signed, and its leaf without the chain above it (X-30)',
  async (t) => {
    const root = await testAuthority();
    const issuer = await root.intermediate();
    const identity = root.identity(await issuer.svid('/ours'), [issuer]);
    const whole = await issuer.svid('/upstream');
    for (const svid of [whole, { ...whole, certificatesPem: whole.leaf.toString() }]) {
      await using upstream = await mtlsUpstream({ authority: root, svid });
      const { socket, peer } = reached(await attempt(upstream, { identity }));
      t.equal(peer.serial, whole.leaf.serialNumber);
      socket.destroy();
    }
  },
);

t.test(
  'refuses a peer of the right trust domain with another SPIFFE ID, saying both (A14)',
  async (t) => {
    const { authority, identity } = await domain();
    await using upstream = await mtlsUpstream({ authority, id: '/somebody' });
    const fault = await refused(upstream, await attempt(upstream, { identity }));
    t.match(fault, {
      code: 'upstream-identity',
      message: /is spiffe:\/\/example\.org\/somebody.*expected spiffe:\/\/example\.org\/upstream/,
      hint: /add its SPIFFE ID/,
    });
  },
);

t.test(
  'refuses a peer that another authority vouches for, whatever ID it claims (X-09, A14)',
  async (t) => {
    const other = await testAuthority({ trustDomain: 'other.test' });
    const { identity, authority } = await domain(other);
    for (const svid of [
      await other.svid('/upstream'),
      await other.svid('spiffe://example.org/upstream'),
    ]) {
      await using upstream = await mtlsUpstream({ authority, svid });
      const fault = await refused(upstream, await attempt(upstream, { identity }));
      t.match(fault, { code: 'upstream-tls', message: new RegExp(`no trust anchor.*${svid.id}`) });
    }
  },
);

t.test(
  'with peers of several trust domains each is verified with its own anchors alone (X-09)',
  async (t) => {
    const other = await testAuthority({ trustDomain: 'other.test' });
    const { identity, authority } = await domain(other);
    const tls = policy({
      peers: ['spiffe://example.org/upstream', 'spiffe://other.test/upstream'],
    });
    for (const issuer of [authority, other, await other.intermediate()]) {
      await using upstream = await mtlsUpstream({
        authority,
        svid: await issuer.svid('/upstream'),
      });
      const { socket, peer } = reached(await attempt(upstream, { identity, tls }));
      t.equal(peer.spiffeId, `spiffe://${issuer.trustDomain}/upstream`);
      socket.destroy();
    }
    const impostors = [
      await other.svid('spiffe://example.org/upstream'),
      await authority.svid('spiffe://other.test/upstream'),
      await (await other.intermediate()).svid('spiffe://example.org/upstream'),
    ];
    for (const svid of impostors) {
      await using upstream = await mtlsUpstream({ authority, svid });
      const fault = await refused(upstream, await attempt(upstream, { identity, tls }));
      t.match(
        fault.message,
        /no trust anchor|another trust domain/,
        `${svid.id} by another authority`,
      );
    }
  },
);

t.test('no anchor for the trust domain of the peers: refused before one byte of TLS', async (t) => {
  const { authority, identity } = await domain();
  await using upstream = await rawUpstream();
  const empty = new Map([
    [authority.trustDomain, { trustDomain: authority.trustDomain, anchors: [] }],
  ]);
  for (const bundles of [new Map(), empty]) {
    const { fault } = await attempt(upstream, { identity: { ...identity, bundles } });
    t.match(fault, { code: 'no-trust-bundle', message: /example\.org/, hint: /federate/ });
  }
  await upstream.quiet();
  t.equal(upstream.received(), 0);
});

t.test('without an unexpired SVID of ours nothing is sent', async (t) => {
  const { identity } = await domain();
  await using upstream = await rawUpstream();
  t.match(await attempt(upstream, { identity: undefined }), {
    fault: { code: 'no-identity', hint: /readyz/ },
  });
  const later = () => identity.svid.notAfter;
  t.match(await attempt(upstream, { identity, now: later }), {
    fault: { code: 'identity-expired' },
  });
  t.match(await attempt(upstream, { identity: undefined, tls: policy({ mode: 'web-mtls' }) }), {
    fault: { code: 'no-identity' },
  });
  await upstream.quiet();
  t.equal(upstream.received(), 0);
});

t.test('our own clock decides about expiry too', async (t) => {
  const { authority, identity } = await domain();
  const svid = await authority.svid('/upstream', { notAfter: Date.now() + 60_000 });
  await using upstream = await mtlsUpstream({ authority, svid });
  const fault = await refused(
    upstream,
    await attempt(upstream, { identity, now: () => svid.x509Svid.notAfter }),
  );
  t.match(fault, { code: 'upstream-identity', message: /expired/ });
});

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(
    `no session is ever resumed, though the upstream offers to (${maxVersion}, A15)`,
    async (t) => {
      const { authority, identity } = await domain();
      await using upstream = await mtlsUpstream({ authority, tickets: true, tls: { maxVersion } });
      const contexts = tlsContexts();
      for (let n = 0; n < 3; n += 1) {
        const { socket } = reached(await attempt(upstream, { identity, contexts }));
        await once(socket, 'data');
        t.notOk(socket.isSessionReused());
        socket.destroy();
      }
      t.same(
        upstream.connections.map(({ resumed, serial }) => ({ resumed, serial })),
        Array.from({ length: 3 }, () => ({ resumed: false, serial: identity.svid.serial })),
        'and the upstream saw our certificate every time',
      );
    },
  );
}

t.test(
  'after a rotation the next connection shows the new SVID and trusts the new anchors (A15)',
  async (t) => {
    const { authority, identity } = await domain();
    const contexts = tlsContexts();
    await using upstream = await mtlsUpstream({ authority });
    const serials: string[] = [];
    for (let generation = 1; generation <= 4; generation += 1) {
      const next =
        generation === 1
          ? identity
          : authority.identity(await authority.svid('/ours'), [], generation);
      const { socket } = reached(await attempt(upstream, { identity: next, contexts }));
      await once(socket, 'data');
      t.equal(upstream.connections.at(-1)?.serial, next.svid.serial);
      serials.push(next.svid.serial);
      socket.destroy();
    }
    t.equal(new Set(serials).size, 4);
    const successor = await testAuthority();
    const moved = successor.identity(await successor.svid('/ours'), [], 5);
    t.match((await attempt(upstream, { identity: moved, contexts })).fault, {
      code: 'upstream-tls',
    });
  },
);
