import { rm } from 'node:fs/promises';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { parseTrustDomain } from '../../lib/spiffe/trust-domain.ts';
import { until } from '../support/until.ts';
import { folder, follow, shiftedClock, thrown, trustDomain, workloadApiServer } from './fixture.ts';

const OTHER = parseTrustDomain('other.test');
const OWN = parseTrustDomain('example.org');

t.test(
  'the first X.509-SVID with its bundle becomes generation 1, immutable (C-10, C-27, C-32)',
  async (t) => {
    const api = await workloadApiServer(t, {
      identities: [{ id: '/agent', hint: 'a' }, { id: '/second' }],
    });
    const source = follow(t, api.endpoint);
    const identity = await source.ready();
    t.equal(identity.generation, 1);
    t.equal(identity.svid.id, 'spiffe://example.org/agent');
    t.same(
      identity.svids.map(({ id }) => id),
      ['spiffe://example.org/agent', 'spiffe://example.org/second'],
    );
    t.equal(identity.bundles.get(OWN)?.anchors.length, 1);
    t.ok(
      Object.isFrozen(identity) &&
        Object.isFrozen(identity.svids) &&
        Object.isFrozen(identity.svid),
    );
    t.equal(source.current(), identity);
    t.match(source.metrics(), { rotations: 0, reconnects: 0, discardedMessages: 0, crls: 0 });
    t.match(source.notes, [
      { level: 'info', text: /generation 1: spiffe:\/\/example\.org\/agent/ },
    ]);
  },
);

t.test(
  'a rotation is a new generation with another certificate, and one snapshot (C-21, C-32)',
  async (t) => {
    const api = await workloadApiServer(t);
    const source = follow(t, api.endpoint);
    const first = await source.ready();
    await api.rotate();
    await source.reaches(
      'generation 2',
      (state) => state.kind === 'current' && state.identity.generation === 2,
    );
    t.not(source.current().svid.serial, first.svid.serial);
    await api.domain.rotateX509Authority();
    await until(
      'the new authority is trusted',
      () => source.current().bundles.get(OWN)?.anchors.length === 2,
    );
    t.ok(source.metrics().rotations >= 2);
    t.equal(first.bundles.get(OWN)?.anchors.length, 1, 'an old snapshot stays as it was');
  },
);

t.test('what says the same again is no new generation', async (t) => {
  const api = await workloadApiServer(t);
  const source = follow(t, api.endpoint);
  const first = await source.ready();
  const before = api.calls('FetchX509SVID');
  api.endCalls({ code: 'OK', details: '' }, 'FetchX509SVID');
  await until(
    'it asked again and was answered',
    () => api.calls('FetchX509SVID') > before && api.open('FetchX509SVID') === 1,
  );
  await source.reaches(
    'well again',
    (state) => state.problem === undefined && state.kind === 'current',
  );
  t.equal(source.current(), first, 'the very same snapshot');
  t.equal(source.metrics().rotations, 0);
});

t.test(
  'being denied stops the use of the SVID at once, and it is asked for again (C-25, C-42)',
  async (t) => {
    const api = await workloadApiServer(t);
    const source = follow(t, api.endpoint);
    await source.ready();
    const started = performance.now();
    await api.setIdentities([]);
    await source.reaches('withdrawn', (state) => state.kind === 'withdrawn');
    t.ok(performance.now() - started < 5000);
    t.match(
      thrown(() => source.current()),
      { code: 'no-identity', message: /withdrawn.*no identity issued/ },
    );
    t.match(
      thrown(() => source.current()),
      { hint: /\w/ },
    );
    await t.rejects(source.fetchJwtSvid('crm', AbortSignal.timeout(5000)), { code: 'no-identity' });
    await api.setIdentities([{ id: '/agent' }]);
    const again = await source.reaches('current again', (state) => state.kind === 'current');
    t.equal(again.kind === 'current' && again.identity.generation, 2, 'a withdrawal was a change');
    t.ok((source.metrics().errorsByCode.get('PERMISSION_DENIED') ?? 0) >= 1);
  },
);

t.test(
  'before the first SVID, being denied and being away are waited out (C-41, C-42)',
  async (t) => {
    const api = await workloadApiServer(t, { identities: [] });
    const source = follow(t, api.endpoint);
    await source.reaches(
      'told why',
      (state) => state.kind === 'waiting' && /no identity issued/.test(state.problem ?? ''),
    );
    t.match(
      thrown(() => source.current()),
      { code: 'no-identity', message: /no X\.509-SVID yet/ },
    );
    await api.setIdentities([{ id: '/late' }]);
    t.equal((await source.ready()).svid.id, 'spiffe://example.org/late');
  },
);

t.test(
  'a socket that is not there yet is waited for, one that is made again is found (C-41, C-26)',
  async (t) => {
    const dir = await folder(t);
    const source = follow(t, `unix://${dir}/api.sock`);
    await source.reaches('told why', (state) => /UNAVAILABLE/.test(state.problem ?? ''));
    const domain = await trustDomain();
    const api = await workloadApiServer(t, { socket: `${dir}/api.sock`, domain });
    const first = await source.ready();
    for (let round = 0; round < 2; round += 1) {
      await api.stop();
      await source.reaches(
        'a problem is told',
        (state) => state.kind === 'current' && state.problem !== undefined,
      );
      t.equal(source.current().svid.id, first.svid.id, 'still used');
      await rm(`${dir}/api.sock`, { force: true });
      await api.start();
      await source.reaches(
        'well again',
        (state) => state.kind === 'current' && state.problem === undefined,
      );
    }
    t.equal(source.current(), first, 'kept all the time');
    t.ok(source.metrics().reconnects >= 2);
  },
);

for (const code of [
  'UNAVAILABLE',
  'OK',
  'CANCELLED',
  'INTERNAL',
  'UNKNOWN',
  'RESOURCE_EXHAUSTED',
  'DEADLINE_EXCEEDED',
] as const) {
  t.test(
    `a stream that the server ends with ${code} is opened again and nothing is lost (C-20, C-44, C-45)`,
    async (t) => {
      const api = await workloadApiServer(t);
      const source = follow(t, api.endpoint);
      const first = await source.ready();
      api.endCalls({ code, details: 'as told' }, 'FetchX509SVID');
      await until('it is counted', () => source.metrics().errorsByCode.get(code) === 1);
      await source.reaches(
        'well again',
        (state) => state.kind === 'current' && state.problem === undefined,
      );
      await api.rotate();
      await source.reaches(
        'rotated',
        (state) => state.kind === 'current' && state.identity.generation > first.generation,
      );
      t.equal(
        source.history.some(({ kind }) => kind === 'withdrawn'),
        false,
      );
    },
  );
}

t.test('INVALID_ARGUMENT is told, not asked again, and says so for good (C-40)', async (t) => {
  const api = await workloadApiServer(t);
  api.failNext({ code: 'INVALID_ARGUMENT', calls: Infinity, method: 'FetchX509SVID' });
  const source = follow(t, api.endpoint);
  await until('it is told', () =>
    source.notes.some(({ text }) => /asking again cannot help/.test(text)),
  );
  t.match(await source.final, { code: 'workload-api-refused', exit: 78 });
  t.equal(source.metrics().final, true);
  await until('the other stream lives', () => source.jwtBundles().size > 0);
  api.heal();
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(api.calls('FetchX509SVID'), 1);
  t.match(source.states.get(), { kind: 'waiting', problem: /INVALID_ARGUMENT/ });
});

t.test('UNIMPLEMENTED is asked again: X.509 is no optional profile (C-43)', async (t) => {
  const api = await workloadApiServer(t);
  const source = follow(t, api.endpoint);
  await source.ready();
  api.failNext({ code: 'UNIMPLEMENTED', calls: 3, method: 'FetchX509SVID' });
  api.endCalls({ code: 'UNIMPLEMENTED', details: '' }, 'FetchX509SVID');
  await until(
    'each is counted',
    () => (source.metrics().errorsByCode.get('UNIMPLEMENTED') ?? 0) >= 4,
  );
  await api.rotate();
  await source.reaches(
    'rotated',
    (state) => state.kind === 'current' && state.identity.generation > 1,
  );
  t.equal(source.metrics().final, false);
});

t.test(
  'an expired SVID is refused by the wall clock at the moment of use (C-26, invariant 9)',
  async (t) => {
    const api = await workloadApiServer(t);
    const clock = shiftedClock();
    const source = follow(t, api.endpoint, { clock });
    const identity = await source.ready();
    await api.stop();
    clock.shift(identity.svid.notAfter - clock.now() - 1000);
    t.equal(source.current(), identity, 'until the last second');
    clock.shift(1000);
    t.match(
      thrown(() => source.current()),
      { code: 'identity-expired', message: /expired at .*Z/, hint: /\w/ },
    );
    await t.rejects(source.firstUpdate(AbortSignal.timeout(50)), { name: 'Fault' });
  },
);

t.test(
  'what the newest message leaves out is gone, an empty bundle is a revocation (C-22, C-23, C-24)',
  async (t) => {
    const api = await workloadApiServer(t, { federated: [await trustDomain('other.test')] });
    const source = follow(t, api.endpoint);
    t.equal((await source.ready()).bundles.get(OTHER)?.anchors.length, 1);
    await api.setFederatedBundle(OTHER, 'empty');
    await until('revoked', () => source.current().bundles.get(OTHER)?.anchors.length === 0);
    t.equal(source.current().svid.id, 'spiffe://example.org/agent');
    await api.unfederate(OTHER);
    await until('gone', () => !source.current().bundles.has(OTHER));
    t.equal(source.metrics().droppedBundles, 0);
  },
);

t.test('a malformed federated bundle costs that trust domain alone (C-54)', async (t) => {
  const api = await workloadApiServer(t, {
    federated: [await trustDomain('other.test'), await trustDomain('third.test')],
  });
  const source = follow(t, api.endpoint);
  await source.ready();
  await api.setFederatedBundle(OTHER, 'malformed');
  await until('dropped', () => !source.current().bundles.has(OTHER));
  t.same([...source.current().bundles.keys()].toSorted(), ['example.org', 'third.test']);
  t.ok(source.metrics().droppedBundles >= 1);
  t.ok(source.notes.some(({ level, text }) => level === 'warn' && /other\.test/.test(text)));
  t.equal(source.metrics().discardedMessages, 0);
});

t.test('an SVID that is gone from the message is gone (C-23)', async (t) => {
  const api = await workloadApiServer(t, { identities: [{ id: '/a' }, { id: '/b' }] });
  const source = follow(t, api.endpoint);
  t.equal((await source.ready()).svids.length, 2);
  await api.setIdentities([{ id: '/b' }]);
  await until('one is left', () => source.current().svids.length === 1);
  t.equal(source.current().svid.id, 'spiffe://example.org/b');
  t.ok(
    source.notes.some(
      ({ level, text }) => level === 'warn' && /no longer spiffe:\/\/example\.org\/a/.test(text),
    ),
  );
});

for (const blank of ['svids', 'spiffe_id', 'x509_svid', 'x509_svid_key', 'bundle'] as const) {
  t.test(
    `a message with ${blank} empty is discarded and what was before stays (C-24)`,
    async (t) => {
      const api = await workloadApiServer(t);
      const source = follow(t, api.endpoint);
      const first = await source.ready();
      await api.breakResponses({ blank });
      await until('it is counted', () => source.metrics().discardedMessages === 1);
      t.equal(source.current(), first);
      t.match(source.states.get(), { kind: 'current', problem: /discarded/ });
      await api.breakResponses({});
      await api.rotate();
      await source.reaches(
        'good again',
        (state) => state.kind === 'current' && state.identity.generation > 1,
      );
      t.equal(source.metrics().reconnects, 0, 'on the same stream');
    },
  );
}

t.test(
  'an SVID that fails our own validation is not used, the one before stays (C-55)',
  async (t) => {
    const api = await workloadApiServer(t);
    const source = follow(t, api.endpoint);
    const first = await source.ready();
    await api.breakResponses({ foreignKey: true });
    await until('the wrong key', () => source.metrics().discardedMessages === 1);
    await api.breakResponses({ foreignId: 'spiffe://example.org/other' });
    await until('the wrong ID', () => source.metrics().discardedMessages === 2);
    t.equal(source.current(), first);
    const texts = source.notes.map(({ text }) => text).join('\n');
    t.match(texts, /does not belong to its certificate/);
    t.match(
      texts,
      /issued as spiffe:\/\/example\.org\/other is a certificate of spiffe:\/\/example\.org\/agent/,
    );
  },
);

t.test('an SVID is selected by its ID or hint, else the first (C-27, C-29)', async (t) => {
  const identities = [{ id: '/a' }, { id: '/b', hint: 'b' }, { id: '/c', hint: 'c' }];
  const api = await workloadApiServer(t, { identities });
  const id = parseSpiffeId('spiffe://example.org/c');
  t.equal(
    (await follow(t, api.endpoint, { select: { hint: 'b' } }).ready()).svid.id,
    'spiffe://example.org/b',
  );
  t.equal((await follow(t, api.endpoint, { select: { spiffeId: id } }).ready()).svid.id, id);
  t.equal((await follow(t, api.endpoint).ready()).svid.id, 'spiffe://example.org/a');
});

t.test('a selected SVID that is not issued is never replaced by another (C-29)', async (t) => {
  const api = await workloadApiServer(t, {
    identities: [
      { id: '/a', hint: 'x' },
      { id: '/b', hint: 'y' },
    ],
  });
  const source = follow(t, api.endpoint, { select: { hint: 'y' } });
  await source.ready();
  await api.setIdentities([{ id: '/a', hint: 'x' }]);
  const state = await source.reaches('withdrawn', ({ kind }) => kind === 'withdrawn');
  t.match(state.problem, /hint "y".*spiffe:\/\/example\.org\/a \(hint "x"\)/);
  t.match(
    thrown(() => source.current()),
    { code: 'no-identity' },
  );
  await api.setIdentities([{ id: '/a', hint: 'y' }]);
  await source.reaches('chosen by hint again', ({ kind }) => kind === 'current');
  t.equal(source.current().svid.id, 'spiffe://example.org/a');
});

t.test('the same trouble is told once, and its end with the count', async (t) => {
  const api = await workloadApiServer(t);
  const source = follow(t, api.endpoint);
  await source.ready();
  api.failNext({ code: 'UNAVAILABLE', calls: 5, method: 'FetchX509SVID' });
  api.endCalls({ code: 'UNAVAILABLE', details: '' }, 'FetchX509SVID');
  await until('the end is told', () =>
    source.notes.some(({ text }) => /well again after \d+/.test(text)),
  );
  const told = source.notes.filter(
    ({ level, stream }) => level === 'warn' && stream === 'X.509-SVIDs',
  );
  t.equal(new Set(told.map(({ text }) => text)).size, told.length, 'no text twice');
  t.ok((source.metrics().errorsByCode.get('UNAVAILABLE') ?? 0) >= 6, 'but each is counted');
});

t.test(
  'JWT bundles come by a stream of their own, whose trouble harms nobody else (C-25, C-30, C-53a)',
  async (t) => {
    const api = await workloadApiServer(t, { federated: [await trustDomain('other.test')] });
    const source = follow(t, api.endpoint);
    const identity = await source.ready();
    await until('they are there', () => source.jwtBundles().size === 2);
    t.equal(source.jwtBundles().get(OWN)?.keys.keys.length, 1);
    api.failNext({ code: 'UNAVAILABLE', calls: 3, method: 'FetchJWTBundles' });
    api.endCalls({ code: 'UNAVAILABLE', details: '' }, 'FetchJWTBundles');
    t.equal(source.jwtBundles().size, 2, 'kept while it is away');
    await api.setFederatedBundle(OTHER, 'malformed');
    await until('one bad domain is dropped', () => source.jwtBundles().size === 1);
    api.failNext({ code: 'PERMISSION_DENIED', calls: Infinity, method: 'FetchJWTBundles' });
    api.endCalls({ code: 'PERMISSION_DENIED', details: '' }, 'FetchJWTBundles');
    await until('withdrawn', () => source.jwtBundles().size === 0);
    t.equal(source.current().svid.id, identity.svid.id, 'X.509 goes on');
    api.heal();
    await until('back again', () => source.jwtBundles().size === 1);
  },
);

t.test(
  'a JWT-SVID is of the identity that we act as, for the audience asked for (C-60)',
  async (t) => {
    const api = await workloadApiServer(t, { identities: [{ id: '/a' }, { id: '/b', hint: 'b' }] });
    const source = follow(t, api.endpoint, { select: { hint: 'b' } });
    await source.ready();
    const svid = await source.fetchJwtSvid('crm', AbortSignal.timeout(5000));
    t.match(svid, { id: 'spiffe://example.org/b', audience: ['crm'] });
    t.match(svid.token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
    t.ok(svid.expiresAt > Date.now());
    api.failNext({ code: 'PERMISSION_DENIED', method: 'FetchJWTSVID' });
    await t.rejects(source.fetchJwtSvid('crm', AbortSignal.timeout(5000)), {
      code: 'workload-api-denied',
    });
    t.equal(
      source.current().svid.id,
      'spiffe://example.org/b',
      'a failed call fails alone (invariant 9)',
    );
    await t.rejects(source.fetchJwtSvid('', AbortSignal.timeout(5000)), { name: 'Fault' });
  },
);

t.test('waiting for the first SVID ends with its signal or with the source', async (t) => {
  const source = follow(t, `unix://${await folder(t)}/none.sock`);
  const stop = new AbortController();
  const waiting = source.firstUpdate(stop.signal);
  stop.abort(new Fault('timeout', 'enough'));
  await t.rejects(waiting, { message: 'enough' });
  await t.rejects(source.firstUpdate(stop.signal), { message: 'enough' });
  const other = source.firstUpdate(new AbortController().signal);
  const told = t.rejects(other, { code: 'shutting-down' });
  await source[Symbol.asyncDispose]();
  await told;
  await t.rejects(source.firstUpdate(new AbortController().signal), { code: 'shutting-down' });
});

t.test('closing ends every call and leaves nothing open', async (t) => {
  const api = await workloadApiServer(t);
  const source = follow(t, api.endpoint);
  await source.ready();
  source.jwtBundles();
  await until('both streams are open', () => api.open() === 2);
  await source[Symbol.asyncDispose]();
  await source[Symbol.asyncDispose]();
  await until('the server sees both ended', () => api.open() === 0);
  t.equal(api.open(), 0);
});

t.test('a wrong address is told at once', async (t) => {
  t.throws(() => follow(t, 'unix://tmp/x.sock'), { code: 'workload-api-address' });
});
