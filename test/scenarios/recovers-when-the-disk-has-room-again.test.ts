import { existsSync, readFileSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

t.test(
  'refuses while the disk of the audit log is full, recovers by itself, and every line of the log parses (R5)',
  { skip: !existsSync('/dev/full') && 'this system has no /dev/full' },
  async (t) => {
    await using s = await testSidecar();
    t.equal(await s.get('/v1/customers'), 200);
    const requests = s.api.requests().length;
    const file = join(s.folder, 'audit.jsonl');
    const good = `${file}.good`;
    renameSync(file, good);
    symlinkSync('/dev/full', file);
    await until('it refuses', async () => (await s.get('/v1/customers')) === 503, 10_000);
    const before = s.api.requests().length;
    const line = await s.open();
    line.write(
      'GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\nConnection: ' +
        'close\r\n\r\n',
    );
    t.match(await line.ended(), /ENOSPC[^]*make room[^]*audit-unavailable/);
    t.equal(s.api.requests().length, before, 'nothing is sent without evidence');
    renameSync(good, file);
    await until('it serves again', async () => (await s.get('/v1/customers')) === 200, 10_000);
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    for (const text of lines) JSON.parse(text);
    const decided = s
      .records()
      .filter(({ kind, effect }) => kind === 'decided' && effect === 'allow');
    t.ok(
      decided.length >= s.api.requests().length - (before - requests),
      'what was sent is in the log',
    );
  },
);
