import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

t.test(
  'cuts an open tunnel when its destination is taken out of the documents, and only that',
  async (t) => {
    await using s = await testSidecar();
    const line = await s.tunnel();
    const other = await s.open();
    other.write('GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await other.sees(/^HTTP\/1\.1 200/);
    s.write(s.documents.slice(0, s.documents.indexOf('---')));
    await until('the agent sees a reset', () => line.reset, 10_000);
    other.write('GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await until(
      'the other connection goes on',
      () => other.text.match(/^HTTP\/1\.1 200/gm)?.length === 2,
    );
    const record = await until('the records are written', () =>
      s.records().find(({ kind, outcome }) => kind === 'ended' && outcome === 'no-longer-allowed'),
    );
    const loaded = s
      .records()
      .find(({ kind, event }) => kind === 'lifecycle' && event === 'policy-loaded');
    const redecided = s.records().find(({ kind }) => kind === 'redecided');
    t.match(redecided, { effect: 'deny', exchange: record['exchange'], policy: 2 });
    const elapsed = Date.parse(String(record['time'])) - Date.parse(String(redecided?.['time']));
    t.ok(elapsed < 1000, `${elapsed} ms`);
    t.ok(loaded, 'the reload is in the log too');
  },
);
