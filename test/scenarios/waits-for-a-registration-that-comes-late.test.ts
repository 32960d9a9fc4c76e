import t from 'tap';
import { eventually, startChaperone } from '../support/program.ts';
import { sidecarAgent, sidecarSetup } from '../support/sidecar.ts';

t.test(
  'waits for a registration that comes late: not ready, 503 that says what is missing, then serves (C-42)',
  async (t) => {
    await using w = await sidecarSetup();
    await w.workload.setIdentities(['/crm', '/db'].map((id) => ({ id })));
    await using sidecar = startChaperone(['run', '-c', w.folder]);
    const line = await eventually(
      'it listens',
      () => /listening: ([^"\n]*)/.exec(sidecar.text())?.[1],
    );
    const port = (name: string): number =>
      Number(new RegExp(`${name} [^,]*:(\\d+)`).exec(line)?.[1]);
    const agent = sidecarAgent(() => port('forward'));
    const page = async (path: string): Promise<string> => {
      const answer = await fetch(`http://127.0.0.1:${port('health')}${path}`);
      return `${answer.status} ${await answer.text()}`;
    };
    t.match(await page('/livez'), /^200/);
    t.match(await page('/readyz'), /^503 [^]*identity/);
    t.equal(await agent.get('/v1/customers'), 503);
    t.equal(w.api.connections(), 0);
    const calls = w.workload.calls('FetchX509SVID');
    await w.workload.setIdentities(['/agent', '/crm', '/db'].map((id) => ({ id })));
    await eventually('it is ready', async () => (await page('/readyz')).startsWith('200'));
    t.equal(await agent.get('/v1/customers'), 200);
    t.ok(w.workload.calls('FetchX509SVID') - calls < 20, 'no hot loop');
    t.ok(
      (sidecar.text().match(/error/g) ?? []).length < 3,
      'what is normal at a start is no storm of errors',
    );
  },
);
