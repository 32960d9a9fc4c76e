import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import type { X509State } from '../../lib/identity/parse.ts';
import { next, usableIdentity, type IdentityEvent, type Select } from '../../lib/identity/state.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import type { IdentityState } from '../../lib/spiffe/identity.ts';
import { testAuthority } from '../fakes/authority.ts';
import { thrown } from './fixture.ts';

const ca = await testAuthority();
const [a, b] = [(await ca.svid('/a')).x509Svid, (await ca.svid('/b')).x509Svid];
const other = await testAuthority({ trustDomain: 'other.test' });
const NOW = Date.now();

const received = (parts: Partial<X509State> = {}): X509State => ({
  svids: [a, b],
  bundles: new Map([[ca.trustDomain, ca.bundle]]),
  dropped: [],
  crls: 0,
  ...parts,
});
const fault = new Fault('workload-api-unavailable', 'away');
const update = (parts?: Partial<X509State>): IdentityEvent => ({ kind: 'update', received: received(parts) });
const trouble: IdentityEvent = { kind: 'trouble', fault };
const denied: IdentityEvent = { kind: 'denied', fault };

const step = (state: IdentityState, event: IdentityEvent, generation = 0, select: Select = {}): IdentityState =>
  next(state, event, { select, now: NOW, generation });

const waiting: IdentityState = { kind: 'waiting', since: 1, problem: undefined };
const current = step(waiting, update());
const withdrawn: IdentityState = { kind: 'withdrawn', since: 2, problem: 'x' };

t.test('every event in every state (C-21, C-25, C-26)', async (t) => {
  t.match(step(waiting, update()), { kind: 'current', identity: { generation: 1 }, problem: undefined });
  t.match(step(waiting, trouble), { kind: 'waiting', since: 1, problem: 'away' });
  t.match(step(waiting, denied), { kind: 'waiting', since: 1, problem: 'away' });
  t.match(step(current, trouble, 1), { kind: 'current', identity: { generation: 1 }, problem: 'away' });
  t.match(step(current, denied, 1), { kind: 'withdrawn', since: NOW, problem: 'away' });
  t.match(step(withdrawn, update(), 1), { kind: 'current', identity: { generation: 2 } });
  t.match(step(withdrawn, trouble, 1), { kind: 'withdrawn', since: 2, problem: 'away' });
  t.match(step(withdrawn, denied, 1), { kind: 'withdrawn', since: 2, problem: 'away' });
});

t.test('a generation rises on a real change of anything, and on nothing else', async (t) => {
  const again = step(step(current, trouble, 1), update(), 1);
  t.ok(again.kind === 'current' && current.kind === 'current' && again.identity === current.identity);
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
  for (const change of changes) t.match(step(current, update(change), 1), { identity: { generation: 2 } });
});

t.test('the order in which bundles come is no change', async (t) => {
  const one = new Map([...received().bundles, [other.trustDomain, other.bundle]]);
  const two = new Map([...one].toReversed());
  const before = step(waiting, update({ bundles: one }));
  t.match(step(before, update({ bundles: two }), 1), { identity: { generation: 1 } });
});

t.test('selects by everything that is asked for (C-27, C-29)', async (t) => {
  const svids = [a, { ...b, hint: 'h' }, { ...a, hint: 'h' }];
  const id = parseSpiffeId('spiffe://example.org/a');
  const chosen = (select: Select): unknown => {
    const state = step(waiting, update({ svids }), 0, select);
    return state.kind === 'current' ? svids.indexOf(state.identity.svid) : state.problem;
  };
  t.equal(chosen({}), 0);
  t.equal(chosen({ hint: 'h' }), 1);
  t.equal(chosen({ spiffeId: id }), 0);
  t.equal(chosen({ spiffeId: id, hint: 'h' }), 2);
  t.match(chosen({ hint: 'none' }), /hint "none"; issued were spiffe:\/\/example\.org\/a, /);
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
