import { createServer, type AddressInfo } from 'node:net';
import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

t.test(
  'takes the newest policy once what was in its way is gone, and says that it has not when that takes long',
  async (t) => {
    await using s = await testSidecar({ more: '  maxStale: 1s\n' });
    const health = s.sidecar.addresses.get('health')?.port ?? 0;
    const page = async (path: string): Promise<string> => {
      const answer = await fetch(`http://127.0.0.1:${health}${path}`);
      return `${answer.status} ${await answer.text()}`;
    };
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as AddressInfo;
    t.equal(await s.get('/v1/customers'), 200);
    // Takes the customers away, and wants a port that somebody else has.
    s.write(
      s.documents
        .replace('  upstream:', `  listen: '127.0.0.1:${port}'\n  upstream:`)
        .replace('paths: [/v1/customers/**]', 'paths: [/v1/other/**]'),
    );
    await until(
      'the load has failed',
      () => s.log.find((line) => /error config.*EADDRINUSE/.test(line)),
      30_000,
    );
    t.equal(await s.get('/v1/customers'), 200, 'the last good one is in force');
    await until('/readyz says so', async () => (await page('/readyz')).startsWith('503'), 30_000);
    t.match(
      await page('/readyz'),
      /policy: the newest configuration is not in force: .*EADDRINUSE/,
    );
    t.match(await page('/metrics'), /\nchaperone_config_stale_seconds [1-9]/);
    t.match(await page('/metrics'), /\nchaperone_config_degraded 1\n/);
    // No file changes from here on.
    await new Promise((resolve) => taken.close(resolve));
    await until(
      'the newest is in force',
      async () => (await s.get('/v1/customers')) === 403,
      60_000,
    );
    await until('/readyz says so', async () => (await page('/readyz')).startsWith('200'));
    t.match(await page('/metrics'), /\nchaperone_config_stale_seconds 0\n/);
    const told = s.log.filter((line) => line.startsWith('error config'));
    t.equal(told.length, 1, 'what fails again in the same way is told once');
    t.equal(s.records().filter(({ event }) => event === 'policy-rejected').length, 1);
  },
);
