import t from 'tap';
import { parseEndpoint } from '../../lib/identity/address.ts';
import { workloadApi } from '../../lib/identity/client.ts';
import { statusOf } from '../../lib/identity/status.ts';
import { Fault } from '../../lib/base/fault.ts';
import { workloadApiServer } from './fixture.ts';

t.test('a unary call that is not answered fails in its time', async (t) => {
  const server = await workloadApiServer(t);
  server.slowFirst(60_000);
  const began = performance.now();
  const call = workloadApi(parseEndpoint(server.endpoint), 200).fetchJwtSvid(
    { audience: ['x'] },
    new AbortController().signal,
  );
  const failure: unknown = await call.catch((fault: unknown) => fault);
  t.ok(failure instanceof Fault);
  if (failure instanceof Fault) t.equal(statusOf(failure), 'DEADLINE_EXCEEDED');
  t.ok(performance.now() - began >= 190);
});
