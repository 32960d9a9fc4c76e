import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

t.test(
  'serves until the SVID expires when the Workload API is gone, then refuses, then recovers (C12, invariant 9)',
  async (t) => {
    await using s = await testSidecar({ ttl: 6000 });
    t.equal(await s.get('/v1/customers'), 200);
    await s.workload.stop();
    t.equal(await s.get('/v1/customers'), 200, 'the SVID is still valid');
    await until('the SVID has expired', async () => (await s.get('/v1/customers')) === 503, 12_000);
    const line = await s.open();
    line.write(
      'GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\nConnection: ' +
        'close\r\n\r\n',
    );
    t.match(await line.ended(), /expired at [^]*identity-expired/);
    t.equal(await s.get('/v1/other'), 403, 'a denial is a denial whatever the identity');
    await s.workload.start();
    await until('it serves again', async () => (await s.get('/v1/customers')) === 200, 20_000);
  },
);
