import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

t.test(
  'keeps the last good policy when a reload is bad, says so, and takes the next good one',
  async (t) => {
    await using s = await testSidecar();
    t.equal(await s.get('/v1/customers'), 200);
    s.write(s.documents.replace('effect: deny', 'effect: dney'));
    await until(
      'the bad file is reported',
      () => s.log.find((line) => line.startsWith('error config')),
      10_000,
    );
    t.match(
      s.log.find((line) => line.startsWith('error config')),
      /destinations\.yaml:\d+:\d+/,
    );
    t.equal(await s.get('/v1/customers'), 200, 'the last good one');
    t.equal(await s.get('/v1/customers/export/all'), 403);
    s.write(s.documents.replace('methods: [GET]', 'methods: [HEAD]'));
    await until(
      'the next good one counts',
      async () => (await s.get('/v1/customers')) === 403,
      10_000,
    );
  },
);
