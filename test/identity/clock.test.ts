/** What the clock forbids is not wrong: it is kept, and used when its time has come. */
import { create, toBinary } from '@bufbuild/protobuf';
import t from 'tap';
import { X509SVIDResponseSchema, X509SVIDSchema } from '../../lib/identity/gen/workload_pb.ts';
import { LIMITS } from '../../lib/identity/limits.ts';
import { overdue } from '../../lib/identity/follow.ts';
import { parseTrustDomain } from '../../lib/spiffe/trust-domain.ts';
import { testAuthority, type TestAuthority } from '../support/authority.ts';
import { until } from '../support/until.ts';
import { follow, shiftedClock, workloadApiServer } from './fixture.ts';

const HOUR = 3_600_000;
const OTHER = parseTrustDomain('other.test');

/**
 * A message of one SVID whose start is so many milliseconds from now, with the bundle of another
 * domain.
 */
async function message(
  authority: TestAuthority,
  startsIn: number,
  other?: TestAuthority,
): Promise<Uint8Array> {
  const notBefore = Date.now() + startsIn;
  const svid = await authority.svid('/agent', { notBefore, notAfter: notBefore + HOUR });
  const bytes = (of: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(of);
  const entry = create(X509SVIDSchema, {
    spiffeId: svid.id,
    x509Svid: bytes(svid.concatenated),
    x509SvidKey: bytes(svid.privateKey),
    bundle: bytes(authority.certificate),
  });
  const federatedBundles = other === undefined ? {} : { 'other.test': bytes(other.certificate) };
  return toBinary(
    X509SVIDResponseSchema,
    create(X509SVIDResponseSchema, { svids: [entry], federatedBundles }),
  );
}

t.test('a first SVID that starts within a minute is used at once', async (t) => {
  const api = await workloadApiServer(t);
  await api.breakResponses({
    raw: { FetchX509SVID: await message(await testAuthority(), 30_000) },
  });
  const source = follow(t, api.endpoint);
  t.equal((await source.ready()).generation, 1);
});

t.test(
  'a first SVID that starts later is used when it may be, without another message',
  async (t) => {
    const api = await workloadApiServer(t);
    await api.breakResponses({
      raw: { FetchX509SVID: await message(await testAuthority(), LIMITS.skewMs + 3000) },
    });
    const source = follow(t, api.endpoint);
    await source.reaches(
      'told why',
      ({ kind, problem }) => kind === 'waiting' && /not valid before/.test(problem ?? ''),
    );
    await source.reaches('it is used', ({ kind }) => kind === 'current');
    t.equal(api.calls('FetchX509SVID'), 1);
    t.equal(source.metrics().reconnects, 0);
  },
);

t.test('the SVID before is used meanwhile, and the bundles of the message at once', async (t) => {
  const [authority, other] = [
    await testAuthority(),
    await testAuthority({ trustDomain: 'other.test' }),
  ];
  const api = await workloadApiServer(t);
  await api.breakResponses({ raw: { FetchX509SVID: await message(authority, -60_000) } });
  const source = follow(t, api.endpoint);
  const first = await source.ready();
  await api.breakResponses({ raw: { FetchX509SVID: await message(authority, 4000, other) } });
  await until('the bundles are there', () => source.current().bundles.has(OTHER));
  t.equal(source.current().svid.serial, first.svid.serial);
  t.match(source.states.get(), { kind: 'current', problem: /not valid before/ });
  await until('the new SVID is used', () => source.current().svid.serial !== first.svid.serial);
  t.ok(Date.now() >= source.current().svid.notBefore, 'and not while peers may refuse it');
  t.equal(source.states.get()?.problem, undefined);
  t.ok(
    source.history.every(({ kind }) => kind === 'current'),
    'at no time was there none',
  );
});

t.test('a new SVID that starts ahead is used at once when the one before ends first', async (t) => {
  const authority = await testAuthority();
  const api = await workloadApiServer(t);
  await api.breakResponses({ raw: { FetchX509SVID: await message(authority, -HOUR + 8000) } });
  const source = follow(t, api.endpoint);
  const first = await source.ready();
  await api.breakResponses({ raw: { FetchX509SVID: await message(authority, 30_000) } });
  await until('it is used', () => source.current().svid.serial !== first.svid.serial);
  t.ok(Date.now() < source.current().svid.notBefore);
});

t.test('a newer message takes the place of the one that is waited for', async (t) => {
  const authority = await testAuthority();
  const api = await workloadApiServer(t);
  await api.breakResponses({
    raw: { FetchX509SVID: await message(authority, LIMITS.skewMs + 2000) },
  });
  const source = follow(t, api.endpoint);
  await source.reaches('it waits', ({ problem }) => /not valid before/.test(problem ?? ''));
  await api.breakResponses({ raw: { FetchX509SVID: await message(authority, -1000) } });
  const { svid } = await source.ready();
  await new Promise((resolve) => setTimeout(resolve, 4000));
  t.equal(source.current().svid.serial, svid.serial);
});

t.test('an SVID that came while the clock was ahead is used once it is set right', async (t) => {
  const api = await workloadApiServer(t);
  const clock = shiftedClock();
  clock.shift(2 * HOUR);
  const source = follow(t, api.endpoint, { clock });
  await source.reaches('refused', ({ problem }) => /the leaf expired/.test(problem ?? ''));
  const calls = api.calls('FetchX509SVID');
  clock.shift(-2 * HOUR);
  await source.reaches('used', ({ kind }) => kind === 'current');
  t.equal(api.calls('FetchX509SVID'), calls);
});

t.test('an SVID that came while the clock was behind is used once it is set right', async (t) => {
  const api = await workloadApiServer(t);
  const clock = shiftedClock();
  clock.shift(-20 * 60_000);
  const source = follow(t, api.endpoint, { clock });
  await source.reaches('refused', ({ problem }) => /not valid before/.test(problem ?? ''));
  clock.shift(20 * 60_000);
  await source.reaches('used', ({ kind }) => kind === 'current');
});

t.test('an SVID that we do not act as comes in its time too', async (t) => {
  const authority = await testAuthority();
  const api = await workloadApiServer(t);
  const [now, later] = [
    await message(authority, -1000),
    await message(authority, LIMITS.skewMs + 3000),
  ];
  // Two messages in one are their fields one after the other (protocol buffers, encoding).
  await api.breakResponses({ raw: { FetchX509SVID: Buffer.concat([now, later]) } });
  const source = follow(t, api.endpoint);
  t.equal((await source.ready()).svids.length, 1);
  t.ok(source.notes.some(({ level, text }) => level === 'warn' && /not valid before/.test(text)));
  await until('both are there', () => source.current().svids.length === 2);
});

t.test('a renewal that is overdue is told once, and asked for on another connection', async (t) => {
  const api = await workloadApiServer(t);
  const clock = shiftedClock();
  const source = follow(t, api.endpoint, { clock });
  const { svid } = await source.ready();
  const life = svid.notAfter - svid.notBefore;
  clock.shift(svid.notBefore + 0.59 * life - clock.now());
  await new Promise((resolve) => setTimeout(resolve, 2500));
  const told = (): number =>
    source.notes.filter(({ text }) => /renewal of .* is overdue/.test(text)).length;
  t.equal(told(), 0);
  clock.shift(0.02 * life);
  await until('it is told', () => told() === 1);
  await until('it is asked for, and the stream before is closed', () => {
    return api.calls('FetchX509SVID') === 2 && api.open('FetchX509SVID') === 1;
  });
  await new Promise((resolve) => setTimeout(resolve, 2500));
  t.equal(told(), 1);
  await api.rotate();
  await until('there is a new one', () => source.current().svid.serial !== svid.serial);
});

t.test(
  'how often another connection is tried depends on the life of the SVID, and is never often',
  async (t) => {
    const authority = await testAuthority();
    const state = async (life: number): Promise<Parameters<typeof overdue>[0]> => {
      const svid = await authority.svid('/agent', { notBefore: 0, notAfter: life });
      return { kind: 'current', identity: authority.identity(svid), problem: undefined };
    };
    t.equal(overdue(await state(HOUR), 0.6 * HOUR - 1), undefined);
    t.match(overdue(await state(HOUR), 0.6 * HOUR), { every: HOUR / 20, atOnce: true });
    t.match(overdue(await state(60_000), 36_000), { every: 5000 });
    t.equal(overdue(await state(60_000), 35_999), undefined);
    const first = { every: LIMITS.overdue.firstMs, atOnce: false };
    t.same(overdue({ kind: 'waiting', since: 0, problem: undefined }, 0), first);
  },
);
