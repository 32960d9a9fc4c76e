import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

t.test(
  'cuts what runs when the registration of the agent is deleted, and refuses from then on (invariant 9)',
  async (t) => {
    await using s = await testSidecar();
    const line = await s.tunnel();
    t.equal(await s.get('/v1/customers'), 200);
    const requests = s.api.requests().length;
    await s.workload.setIdentities([]);
    await until('the tunnel is cut', () => line.reset, 10_000);
    t.equal(await s.get('/v1/customers'), 503);
    t.equal(s.api.requests().length, requests);
    const ended = await until('the record is written', () =>
      s.records().find(({ kind, outcome }) => kind === 'ended' && outcome === 'no-identity'),
    );
    t.match(ended, { status: 200, peer: 'spiffe://example.org/db', sent: 4, received: 4 });
  },
);
