import { existsSync } from 'node:fs';
import t from 'tap';
import { testSidecar } from '../support/sidecar.ts';

t.test(
  'refuses when the disk of the audit log is full: nothing is dialled, and the answer says why (R5)',
  { skip: !existsSync('/dev/full') && 'this system has no /dev/full' },
  async (t) => {
    await using s = await testSidecar({ sinks: "[{ file: '/dev/full' }]" });
    const line = await s.open();
    line.write(
      'GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\nConnection: ' +
        'close\r\n\r\n',
    );
    const answer = await line.ended();
    t.match(answer, /^HTTP\/1\.1 503 [^]*ENOSPC[^]*audit-unavailable/);
    t.equal(s.api.connections(), 0);
    const tunnel = await s.open();
    tunnel.write('CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n');
    t.match(await tunnel.ended(), /^HTTP\/1\.1 503/);
    t.equal(s.echo.connections(), 0);
  },
);
