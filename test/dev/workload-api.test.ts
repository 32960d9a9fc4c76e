import { X509Certificate } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain, type DevTrustDomain } from '../../lib/dev/domain.ts';
import { type DevWorkloadApiOptions, startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { shortFolder } from '../support/folder.ts';
import { workloadClient } from '../support/workload-client.ts';

const TWO = [
  { id: '/agent', hint: 'internal' },
  { id: '/other', hint: '' },
];

function domain(name = 'example.org'): Promise<DevTrustDomain> {
  return createDevTrustDomain({ name, clock: systemClock });
}

async function serve(t: Test, more: Partial<DevWorkloadApiOptions> = {}) {
  const api = await startDevWorkloadApi({
    socket: `${shortFolder(t)}/private/api.sock`,
    domain: more.domain ?? (await domain()),
    identities: TWO,
    ...more,
  });
  const client = workloadClient(api.endpoint);
  t.teardown(async () => {
    await client[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
  });
  return { api, client };
}

t.test(
  "refuses a call without exactly one security header, with SPIRE's words (S-03)",
  async (t) => {
    const { client, api } = await serve(t);
    for (const header of [[], ['TRUE'], ['false'], ['true', 'true'], ['']]) {
      const end = await client.stream('fetchX509SVID', header).ended();
      t.match(
        end,
        { code: status.INVALID_ARGUMENT, details: 'security header missing from request' },
        header.join(),
      );
      await t.rejects(client.fetchJwtSvid(['a'], '', header), { code: status.INVALID_ARGUMENT });
    }
    api.checkHeader(false);
    await client.stream('fetchX509SVID', []).message(1);
  },
);

t.test(
  'first response at once: all identities, own and federated bundles (S-08, S-13, S-19, C-52)',
  async (t) => {
    const foreign = await domain('other.test');
    const { client, api } = await serve(t, { federated: [foreign] });
    const message = await client.stream('fetchX509SVID').message(1);
    t.match(message.svids, [
      { spiffeId: 'spiffe://example.org/agent', hint: 'internal' },
      { spiffeId: 'spiffe://example.org/other', hint: '' },
    ]);
    const root = new X509Certificate(message.svids[0]?.bundle ?? Buffer.alloc(0));
    const leaf = new X509Certificate(message.svids[0]?.x509Svid ?? Buffer.alloc(0));
    t.ok(leaf.checkIssued(root) && leaf.verify(root.publicKey));
    t.ok(
      Buffer.from(leaf.raw).includes(Buffer.from('551d130101ff04023000', 'hex')),
      'explicit CA:FALSE',
    );
    t.same(Object.keys(message.federatedBundles), ['spiffe://other.test']);
    t.same(
      Buffer.from(message.federatedBundles['spiffe://other.test'] ?? []),
      Buffer.from(foreign.current().x509[0]?.certificate ?? []),
    );
    t.equal(root.raw.compare(Buffer.from(api.domain.current().x509[0]?.certificate ?? [])), 0);
  },
);

t.test(
  'no identity: PermissionDenied on every method, and at once when it is withdrawn (S-11, S-17)',
  async (t) => {
    const { client, api } = await serve(t);
    const streams = (['fetchX509SVID', 'fetchX509Bundles', 'fetchJWTBundles'] as const).map(
      (name) => client.stream(name),
    );
    for (const stream of streams) await stream.message(1);
    await api.setIdentities([{ id: '/other' }]);
    t.same(
      (await client.stream('fetchX509SVID').message(1)).svids.map((svid) => svid.spiffeId),
      ['spiffe://example.org/other'],
    );
    await api.setIdentities([]);
    for (const stream of streams) {
      t.match(await stream.ended(), {
        code: status.PERMISSION_DENIED,
        details: 'no identity issued',
      });
    }
    await t.rejects(client.fetchJwtSvid(['a']), {
      code: status.PERMISSION_DENIED,
      details: 'no identity issued',
    });
  },
);

t.test('of two identities with one hint the first is given out (S-12)', async (t) => {
  const { client } = await serve(t, {
    identities: [{ id: '/a', hint: 'h' }, { id: '/b', hint: 'h' }, { id: '/c' }, { id: '/d' }],
  });
  const ids = ['/a', '/c', '/d'].map((path) => `spiffe://example.org${path}`);
  t.same(
    (await client.stream('fetchX509SVID').message(1)).svids.map((svid) => svid.spiffeId),
    ids,
  );
  t.same(
    (await client.fetchJwtSvid(['x'])).svids.map((svid) => svid.spiffeId),
    ids,
  );
});

t.test(
  'bundles: full state, own trust domain included, never the same message twice (S-13, S-14, S-18, C-53a)',
  async (t) => {
    const foreign = await domain('other.test');
    const { client, api } = await serve(t);
    const x509 = client.stream('fetchX509Bundles');
    const jwt = client.stream('fetchJWTBundles');
    t.same(Object.keys((await x509.message(1)).bundles), ['spiffe://example.org']);
    await jwt.message(1);
    await api.rotate();
    await api.rotate();
    await api.federate(foreign);
    t.same(Object.keys((await x509.message(2)).bundles), [
      'spiffe://example.org',
      'spiffe://other.test',
    ]);
    const keys = JSON.parse(
      Buffer.from((await jwt.message(2)).bundles['spiffe://example.org'] ?? []).toString(),
    ).keys;
    t.equal(keys.length, 1);
    t.strictSame(
      Object.keys(keys[0]).sort(),
      ['crv', 'kid', 'kty', 'x', 'y'],
      'a public key without `use`',
    );
    await api.unfederate(foreign.name);
    t.same(Object.keys((await x509.message(3)).bundles), ['spiffe://example.org']);
    t.equal(x509.messages.length, 3, 'rotations said nothing new');
  },
);

t.test('JWT-SVIDs: all, one, none, bad requests (S-10, S-15)', async (t) => {
  const { client, api } = await serve(t, { jwtTtl: 60_000 });
  const all = await client.fetchJwtSvid(['crm', 'wiki']);
  t.match(all.svids, [
    { spiffeId: 'spiffe://example.org/agent', hint: 'internal' },
    { spiffeId: 'spiffe://example.org/other' },
  ]);
  const token = all.svids[0]?.svid ?? '';
  const claims = decodeJwt(token);
  t.match(claims, { sub: 'spiffe://example.org/agent', aud: ['crm', 'wiki'] });
  t.equal((claims.exp ?? 0) - (claims.iat ?? 0), 60);
  t.match(decodeProtectedHeader(token), {
    alg: 'ES256',
    typ: 'JWT',
    kid: api.domain.current().jwt[0]?.keyId,
  });
  t.equal((await client.fetchJwtSvid(['crm'], 'spiffe://example.org/other')).svids.length, 1);
  await t.rejects(client.fetchJwtSvid([]), {
    code: status.INVALID_ARGUMENT,
    details: 'audience must be specified',
  });
  await t.rejects(client.fetchJwtSvid(['a'], 'not-an-id'), {
    code: status.INVALID_ARGUMENT,
    details: /^invalid requested SPIFFE ID: /,
  });
  await t.rejects(client.fetchJwtSvid(['a'], 'spiffe://example.org/x'), {
    code: status.PERMISSION_DENIED,
    details: 'no identity issued',
  });
});

t.test(
  'ValidateJWTSVID: every rule, audience as a list, foreign claims filtered (S-16, S-10)',
  async (t) => {
    const foreign = await domain('other.test');
    const stranger = await domain('stranger.test');
    const { client, api } = await serve(t, { federated: [foreign] });
    const [own] = (await client.fetchJwtSvid(['crm'], 'spiffe://example.org/agent')).svids;
    const valid = await client.validate('crm', own?.svid ?? '');
    t.equal(valid.spiffeId, 'spiffe://example.org/agent');
    t.match(valid.claims, {
      sub: 'spiffe://example.org/agent',
      aud: ['crm'],
      exp: Number,
      iat: Number,
    });
    const agent = 'spiffe://other.test/agent' as Parameters<DevTrustDomain['issueJwt']>[0];
    const federated = await foreign.issueJwt(agent, { audience: ['crm'], ttl: 60_000 });
    t.strictSame(Object.keys((await client.validate('crm', federated)).claims ?? {}).sort(), [
      'aud',
      'exp',
      'sub',
    ]);
    await api.setFederatedBundle(foreign.name, 'empty');
    await t.rejects(client.validate('crm', federated), { code: status.INVALID_ARGUMENT });
    const unknown = await stranger.issueJwt('spiffe://stranger.test/a' as typeof agent, {
      audience: ['crm'],
      ttl: 60_000,
    });
    for (const [audience, token] of [
      ['wiki', own?.svid],
      ['crm', unknown],
      ['crm', `${own?.svid}x`],
      ['crm', 'junk'],
    ] as const) {
      await t.rejects(client.validate(audience, token ?? ''), { code: status.INVALID_ARGUMENT });
    }
    await t.rejects(client.validate('', 'x'), {
      code: status.INVALID_ARGUMENT,
      details: 'audience must be specified',
    });
    await t.rejects(client.validate('crm', ''), {
      code: status.INVALID_ARGUMENT,
      details: 'svid must be specified',
    });
  },
);

t.test('WIT-SVID methods are Unimplemented (S-05, S-07)', async (t) => {
  const { client } = await serve(t);
  const bytes = (value: Buffer): Buffer => value;
  const failure = await new Promise((resolve) =>
    client.client.makeUnaryRequest(
      '/SpiffeWorkloadAPI/FetchWITSVID',
      bytes,
      bytes,
      Buffer.alloc(0),
      resolve,
    ),
  );
  t.match(failure, { code: status.UNIMPLEMENTED });
});

t.test('rotates by itself at half life, keeps the CA (S-21)', async (t) => {
  const { client, api } = await serve(t, { ttl: 2000 });
  const stream = client.stream('fetchX509SVID');
  const serial = (der: Uint8Array | undefined): string =>
    new X509Certificate(der ?? Buffer.alloc(0)).serialNumber;
  const first = await stream.message(1);
  const second = await stream.message(2);
  t.not(serial(second.svids[0]?.x509Svid), serial(first.svids[0]?.x509Svid));
  t.same(second.svids[0]?.bundle, first.svids[0]?.bundle);
  await api.setRotation(false);
});

t.test(
  'a new CA issues at once, the old one stays trusted until it is dropped (S-21)',
  async (t) => {
    const { client, api } = await serve(t);
    const stream = client.stream('fetchX509SVID');
    const first = await stream.message(1);
    await api.domain.rotateX509Authority();
    const second = await stream.message(2);
    const [mine] = second.svids;
    const newest = new X509Certificate(mine?.bundle ?? Buffer.alloc(0));
    t.ok(
      new X509Certificate(mine?.x509Svid ?? Buffer.alloc(0)).verify(newest.publicKey),
      'issued by the new one',
    );
    t.ok(
      Buffer.from(mine?.bundle ?? []).includes(Buffer.from(first.svids[0]?.bundle ?? [1])),
      'the old one is still there',
    );
    api.domain.dropOldAuthorities();
    const third = await stream.message(3);
    t.equal(Buffer.compare(third.svids[0]?.bundle ?? Buffer.alloc(0), newest.raw), 0);
    await api.domain.rotateJwtAuthority();
    const keys = async (): Promise<number> =>
      JSON.parse(
        Buffer.from(
          (await client.stream('fetchJWTBundles').message(1)).bundles['spiffe://example.org'] ?? [],
        ).toString(),
      ).keys.length;
    t.equal(await keys(), 2);
  },
);
