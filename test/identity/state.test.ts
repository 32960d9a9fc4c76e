import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import type { X509State } from '../../lib/identity/parse.ts';
import { selected, missing } from '../../lib/identity/select.ts';
import { next, usableIdentity, type IdentityEvent } from '../../lib/identity/state.ts';
import type { IdentityState } from '../../lib/spiffe/identity.ts';
import { testAuthority } from '../support/authority.ts';
import { thrown } from './fixture.ts';

const ca = await testAuthority();
const [a, b] = [(await ca.svid('/a')).x509Svid, (await ca.svid('/b')).x509Svid];
const other = await testAuthority({ trustDomain: 'other.test' });
const NOW = Date.now();

const received = ({ svids = [a, b], ...parts }: Partial<X509State> = {}): X509State => ({
  chosen: { kind: 'svid', svid: svids[0] ?? a },
  svids,
  leftOut: [],
  untimely: [],
  bundles: new Map([[ca.trustDomain, ca.bundle]]),
  dropped: [],
  crls: 0,
  ...parts,
});
const fault = new Fault('workload-api-unavailable', 'away');
const update = (parts?: Partial<X509State>): IdentityEvent => ({
  kind: 'update',
  received: received(parts),
});
const trouble: IdentityEvent = { kind: 'trouble', fault };
const denied: IdentityEvent = { kind: 'denied', fault };

const step = (state: IdentityState, event: IdentityEvent, generation = 0): IdentityState =>
  next(state, event, { now: NOW, generation });

const waiting: IdentityState = { kind: 'waiting', since: 1, problem: undefined };
const current = step(waiting, update());
const withdrawn: IdentityState = { kind: 'withdrawn', since: 2, denied: true, problem: 'x' };
const refused = (parts?: Partial<X509State>): IdentityEvent =>
  update({ ...parts, chosen: { kind: 'refused', fault: new Fault('bad-svid', 'bad') } });
const gone = update({ chosen: { kind: 'missing', fault: new Fault('no-identity', 'not issued') } });

t.test('every event in every state (C-21, C-25, C-26)', async (t) => {
  t.match(step(waiting, update()), {
    kind: 'current',
    identity: { generation: 1 },
    problem: undefined,
  });
  t.match(step(waiting, trouble), { kind: 'waiting', since: 1, problem: 'away' });
  t.match(step(waiting, denied), { kind: 'waiting', since: 1, problem: 'away' });
  t.match(step(current, trouble, 1), {
    kind: 'current',
    identity: { generation: 1 },
    problem: 'away',
  });
  t.match(step(current, denied, 1), {
    kind: 'withdrawn',
    since: NOW,
    denied: true,
    problem: 'away',
  });
  t.match(step(current, gone, 1), {
    kind: 'withdrawn',
    since: NOW,
    denied: false,
    problem: 'not issued',
  });
  t.match(step(withdrawn, gone, 1), {
    kind: 'withdrawn',
    since: 2,
    denied: false,
    problem: 'not issued',
  });
  t.match(step(waiting, refused()), { kind: 'waiting', problem: 'bad' });
  t.match(step(withdrawn, refused(), 1), { kind: 'withdrawn', denied: true, problem: 'bad' });
  t.match(step(current, refused(), 1), {
    kind: 'current',
    identity: { generation: 1 },
    problem: 'bad',
  });
  t.match(step(withdrawn, update(), 1), { kind: 'current', identity: { generation: 2 } });
  t.match(step(withdrawn, trouble, 1), { kind: 'withdrawn', since: 2, problem: 'away' });
  t.match(step(withdrawn, denied, 1), { kind: 'withdrawn', since: 2, problem: 'away' });
});

t.test('a generation rises on a real change of anything, and on nothing else', async (t) => {
  const again = step(step(current, trouble, 1), update(), 1);
  t.ok(
    again.kind === 'current' && current.kind === 'current' && again.identity === current.identity,
  );
  t.equal(again.problem, undefined);
  const renewed = (await ca.svid('/a')).x509Svid;
  const changes: readonly Partial<X509State>[] = [
    { svids: [a] },
    { svids: [b, a] },
    { svids: [renewed, b] },
    { svids: [{ ...a, hint: 'h' }, b] },
    { bundles: new Map([...received().bundles, [other.trustDomain, other.bundle]]) },
    { bundles: new Map([[ca.trustDomain, { ...ca.bundle, anchors: [] }]]) },
  ];
  for (const change of changes)
    t.match(step(current, update(change), 1), { identity: { generation: 2 } });
});

t.test('the order in which bundles come is no change', async (t) => {
  const one = new Map([...received().bundles, [other.trustDomain, other.bundle]]);
  const two = new Map([...one].toReversed());
  const before = step(waiting, update({ bundles: one }));
  t.match(step(before, update({ bundles: two }), 1), { identity: { generation: 1 } });
});

t.test(
  'when its SVID is refused, the SVIDs before stay and the bundles are taken (C-23, C-55)',
  async (t) => {
    const bundles = new Map([...received().bundles, [other.trustDomain, other.bundle]]);
    const after = step(current, refused({ bundles }), 1);
    if (after.kind !== 'current' || current.kind !== 'current') throw new Error('not current');
    t.equal(after.identity.generation, 2);
    t.equal(after.problem, 'bad');
    t.equal(after.identity.svid, current.identity.svid);
    t.equal(after.identity.bundles.get(other.trustDomain), other.bundle);
    const without = step(after, refused({ bundles: new Map() }), 2);
    if (without.kind !== 'current') throw new Error('not current');
    t.same(
      [...without.identity.bundles.keys()],
      [ca.trustDomain],
      'one of our own that cannot be used replaces none',
    );
    const emptied = new Map([[ca.trustDomain, { ...ca.bundle, anchors: [] }]]);
    const revoked = step(after, refused({ bundles: emptied }), 2);
    t.same(revoked.kind === 'current' && revoked.identity.bundles.get(ca.trustDomain)?.anchors, []);
  },
);

t.test('selects by everything that is asked for (C-27, C-29)', async (t) => {
  const list = [
    { spiffeId: a.id, hint: '' },
    { spiffeId: b.id, hint: 'h' },
    { spiffeId: a.id, hint: 'h' },
  ];
  t.equal(selected(list, {}), list[0]);
  t.equal(selected(list, { hint: 'h' }), list[1]);
  t.equal(selected(list, { spiffeId: a.id }), list[0]);
  t.equal(selected(list, { spiffeId: a.id, hint: 'h' }), list[2]);
  t.equal(selected(list, { hint: 'none' }), undefined);
  t.match(
    missing(list, { hint: 'none' }).message,
    /hint "none"; issued were spiffe:\/\/example\.org\/a, /,
  );
  t.notMatch(missing([{ spiffeId: 'x\n', hint: '\n' }], {}).message, /\n/);
});

t.test('an identity is usable until its SVID expires, and in no other state', async (t) => {
  if (current.kind !== 'current') throw new Error('not current');
  t.equal(usableIdentity(current, a.notAfter - 1), current.identity);
  t.match(
    thrown(() => usableIdentity(current, a.notAfter)),
    { code: 'identity-expired' },
  );
  t.match(
    thrown(() => usableIdentity(waiting, NOW)),
    { code: 'no-identity' },
  );
  t.match(
    thrown(() => usableIdentity(withdrawn, NOW)),
    { code: 'no-identity' },
  );
});
