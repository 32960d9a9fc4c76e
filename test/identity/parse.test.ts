import { create, type MessageInitShape } from '@bufbuild/protobuf';
import t from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import {
  JWTBundlesResponseSchema,
  type X509SVID,
  X509SVIDSchema,
  X509SVIDResponseSchema,
} from '../../lib/identity/gen/workload_pb.ts';
import { readJwtBundles, readX509Svids, type X509State } from '../../lib/identity/parse.ts';
import type { Select } from '../../lib/identity/select.ts';
import {
  type IssuerOptions,
  MALFORMED_LEAVES,
  testAuthority,
  type TestSvid,
} from '../support/authority.ts';

const ca = await testAuthority();
const other = await testAuthority({ trustDomain: 'other.test' });
const svid = await ca.svid('/agent');

const bytes = (of: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(of);

const entry = (of: TestSvid, parts: MessageInitShape<typeof X509SVIDSchema> = {}): X509SVID =>
  create(X509SVIDSchema, {
    spiffeId: of.id,
    x509Svid: bytes(of.concatenated),
    x509SvidKey: bytes(of.privateKey),
    bundle: bytes(ca.certificate),
    hint: '',
    ...parts,
  });

function read(
  svids: readonly X509SVID[],
  more: MessageInitShape<typeof X509SVIDResponseSchema> = {},
  select: Select = {},
): Promise<X509State> {
  return readX509Svids(
    create(X509SVIDResponseSchema, { ...more, svids: [...svids] }),
    systemClock,
    select,
  );
}

/** Why the SVID that is meant may not be used. */
async function refused(act: Promise<X509State>): Promise<Fault> {
  const { chosen } = await act;
  if (chosen.kind === 'refused') return chosen.fault;
  throw new Error(`it is ${chosen.kind}`);
}

async function refusal(act: Promise<unknown>): Promise<Fault> {
  try {
    await act;
  } catch (failure) {
    if (failure instanceof Fault) return failure;
    throw failure;
  }
  throw new Error('was accepted');
}

t.test(
  'reads SVIDs in their order, with own and federated bundles, and counts revocation lists (C-21, C-27, C-57)',
  async (t) => {
    const second = await ca.svid('/second');
    const state = await read([entry(svid), entry(second)], {
      federatedBundles: { 'spiffe://other.test': bytes(other.certificate) },
      crl: [new Uint8Array([1]), new Uint8Array([2])],
    });
    t.same(
      state.svids.map(({ id }) => id),
      [svid.id, second.id],
    );
    t.same([...state.bundles.keys()].toSorted(), ['example.org', 'other.test']);
    t.equal(state.crls, 2);
    t.same(state.dropped, []);
  },
);

t.test('of two SVIDs with one hint the first stays; empty hints are none (C-28)', async (t) => {
  const [b, c] = [await ca.svid('/b'), await ca.svid('/c')];
  const state = await read([
    entry(svid, { hint: 'h' }),
    entry(b, { hint: 'h' }),
    entry(c),
    entry(b),
  ]);
  t.same(
    state.svids.map(({ id }) => id),
    [svid.id, c.id, b.id],
  );
});

t.test('each mandatory field that is empty discards the message (C-24)', async (t) => {
  const empty = new Uint8Array();
  const rows: readonly (readonly X509SVID[])[] = [
    [],
    [entry(svid, { spiffeId: '' })],
    [entry(svid, { x509Svid: empty })],
    [entry(svid, { x509SvidKey: empty })],
    [entry(svid, { bundle: empty })],
    [entry(svid), entry(svid, { bundle: empty })],
  ];
  for (const row of rows) t.equal((await refusal(read(row))).code, 'workload-api-message');
});

t.test(
  'a federated bundle that is empty is a revocation, one that is bad costs its domain alone (C-24, C-54)',
  async (t) => {
    const { bundles, dropped } = await read([entry(svid)], {
      federatedBundles: {
        'spiffe://empty.test': new Uint8Array(),
        'spiffe://bad.test': new Uint8Array([1, 2, 3]),
        'spiffe://path.test/a': bytes(other.certificate),
        'spiffe://UPPER.test': bytes(other.certificate),
        'bare.test': bytes(other.certificate),
      },
    });
    t.same([...bundles.keys()].toSorted(), ['bare.test', 'empty.test', 'example.org']);
    t.same(
      [...bundles].filter(([, { anchors }]) => anchors.length === 0).map(([name]) => name),
      ['empty.test'],
    );
    t.equal(dropped.length, 3);
  },
);

t.test('two keys of one trust domain are ambiguous, so neither counts (C-52)', async (t) => {
  const { bundles, dropped } = await read([entry(svid)], {
    federatedBundles: {
      'spiffe://other.test': bytes(other.certificate),
      'other.test': bytes(other.certificate),
    },
  });
  t.same([...bundles.keys()], ['example.org']);
  t.match(dropped, [{ message: /two bundles of other\.test/ }]);
});

t.test('a federated bundle never stands in for our own (C-31)', async (t) => {
  const { bundles } = await read([entry(svid)], {
    federatedBundles: { 'spiffe://example.org': bytes(other.certificate) },
  });
  const anchors = [...bundles.values()].flatMap((bundle) =>
    bundle.anchors.map(({ fingerprint256 }) => fingerprint256),
  );
  t.same(anchors, [ca.bundle.anchors[0]?.fingerprint256]);
});

for (const { rule, title, pathOrId = '/agent', options } of MALFORMED_LEAVES) {
  // What belongs to another trust domain is not malformed here: the bundle beside it is said to be
  // that domain's.
  if (rule === 'X-09') continue;
  t.test(`an SVID with ${title} is not used (C-55, ${rule})`, async (t) => {
    const bad = await ca.svid(pathOrId, options);
    t.match(await refused(read([entry(bad)])), { code: /^bad-/ });
  });
}

const HOUR = 3_600_000;
const ISSUERS: readonly (readonly [string, IssuerOptions])[] = [
  ['an expired intermediate', { notBefore: Date.now() - 2 * HOUR, notAfter: Date.now() - HOUR }],
  ['an intermediate that is no CA', { ca: false }],
  ['an intermediate that may not name it', { permittedUriHosts: ['other.test'] }],
];

for (const [title, options] of ISSUERS) {
  t.test(`an SVID below ${title} is not used (C-55, X-08, X-20, X-22)`, async (t) => {
    const issuer = await ca.intermediate(options);
    t.equal((await refused(read([entry(await issuer.svid('/agent'))]))).code, 'bad-svid');
  });
}

t.test('an SVID that does not lead to its own bundle is not used (C-55, X-09)', async (t) => {
  const fault = await refused(read([entry(svid, { bundle: bytes(other.certificate) })]));
  t.match(fault, { code: 'bad-svid', message: /does not lead to the bundle of example\.org/ });
  t.equal(
    (await refused(read([entry(svid, { bundle: new Uint8Array([0x30]) })]))).code,
    'bad-bundle',
  );
});

t.test(
  'one bad SVID among others costs itself alone, unless it is the one that we act as (C-54, C-55)',
  async (t) => {
    const [second, third] = [await ca.svid('/second'), await ca.svid('/third', { ca: true })];
    const wrongKey = entry(second, { x509SvidKey: bytes(svid.privateKey), hint: 'bad' });
    const all = [wrongKey, entry(third), entry(svid, { hint: 'good' })];
    const good = await read(all, {}, { hint: 'good' });
    t.match(good.chosen, { kind: 'svid', svid: { id: svid.id } });
    t.same(
      good.svids.map(({ id }) => id),
      [svid.id],
    );
    t.match(good.leftOut, [
      { message: /does not belong to its certificate/ },
      { message: /is a CA certificate/ },
    ]);
    t.match(
      await refused(read(all)),
      { message: /does not belong to its certificate/ },
      'the first is never passed over',
    );
    const chosen = await read(all, {}, { hint: 'bad' });
    t.match(chosen.chosen, { kind: 'refused' });
    t.ok(chosen.bundles.has(ca.trustDomain), 'its bundles are there');
    t.match((await read(all, {}, { hint: 'none' })).chosen, { kind: 'missing' });
  },
);

t.test(
  'an anchor that is none is left out of our own bundle and of others, and told (X-20, C-54)',
  async (t) => {
    const leaf = (await ca.svid('/leaf')).concatenated;
    const bundle = bytes(Buffer.concat([leaf, ca.certificate]));
    const federatedBundles = {
      'other.test': bytes(Buffer.concat([other.certificate, leaf])),
      'bad.test': bytes(leaf),
    };
    const { chosen, bundles, leftOut, dropped } = await read([entry(svid, { bundle })], {
      federatedBundles,
    });
    t.equal(chosen.kind, 'svid');
    t.equal(bundles.get(ca.trustDomain)?.anchors.length, 1);
    t.equal(bundles.get(other.trustDomain)?.anchors.length, 1);
    t.match(leftOut, [{ message: /bundle of other\.test/ }, { message: /bundle of example\.org/ }]);
    t.match(dropped, [{ message: /bundle of bad\.test/ }]);
  },
);

t.test(
  'what the clock forbids is told apart from what is wrong, and a minute of skew is borne',
  async (t) => {
    const now = Date.now();
    const dated = async (from: number, until: number): Promise<X509State> =>
      read([entry(await ca.svid('/agent', { notBefore: now + from, notAfter: now + until }))]);
    t.match(await dated(30_000, HOUR), { chosen: { kind: 'svid' }, untimely: [] });
    const ahead = await dated(120_000, HOUR);
    t.match(ahead, { chosen: { kind: 'refused', fault: { message: /not valid before/ } } });
    t.match(ahead.untimely, [{ from: Math.floor((now + 120_000) / 1000) * 1000 }]);
    t.match(await dated(-HOUR, -1000), { chosen: { kind: 'refused' }, untimely: [{}] });
    const wrong = entry(
      await ca.svid('/agent', { notBefore: now + 30_000, notAfter: now + HOUR }),
      {
        bundle: bytes(other.certificate),
      },
    );
    t.match(
      await read([wrong]),
      { chosen: { kind: 'refused' }, untimely: [] },
      'skew excuses nothing else',
    );
    const early = await ca.intermediate({ notBefore: now + 30_000 });
    t.equal(
      (await read([entry(await early.svid('/agent'))])).chosen.kind,
      'svid',
      'nor an issuer that is early',
    );
    const root = await testAuthority({ notBefore: now + 10 * 60_000 });
    const under = entry(await root.svid('/agent'), { bundle: bytes(root.certificate) });
    t.match(
      await read([under]),
      { chosen: { kind: 'refused' }, untimely: [{ from: -Infinity }] },
      'an anchor',
    );
  },
);

t.test('bounds what one message may hold (C-56)', async (t) => {
  const many = Array.from({ length: 101 }, () => entry(svid));
  t.match(await refusal(read(many)), { code: 'workload-api-message', message: /more than 100/ });
  const federatedBundles = Object.fromEntries(
    Array.from({ length: 1001 }, (_, n) => [`d${n}`, new Uint8Array()]),
  );
  t.match(await refusal(read([entry(svid)], { federatedBundles })), { message: /more than 1000/ });
  const big = await read([entry(svid)], {
    federatedBundles: { 'big.test': new Uint8Array((1 << 20) + 1) },
  });
  t.equal(big.dropped.length, 1);
});

t.test(
  'JWT bundles take keys without a use, and drop one bad domain (C-53, C-53a, C-54)',
  async (t) => {
    const jwks = Buffer.from(
      JSON.stringify({ keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'a' }] }),
    );
    const response = create(JWTBundlesResponseSchema, {
      bundles: {
        'spiffe://a.test': bytes(jwks),
        'spiffe://b.test': new Uint8Array([0x7b]),
        'spiffe://c.test': new Uint8Array(),
      },
    });
    const { bundles, dropped } = readJwtBundles(response);
    t.same(
      [...bundles].map(([name, { keys }]) => [name, keys.keys.length]),
      [
        ['a.test', 1],
        ['c.test', 0],
      ],
    );
    t.equal(dropped.length, 1);
  },
);
