import t from 'tap';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { routes } from '../../lib/upstream/route.ts';
import { statusOf } from '../support/agent.ts';
import { policyOf, testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { rawUpstream } from '../support/upstream.ts';

const facts = (host: string) =>
  ({ entry: 'forward', host, port: 80, listener: undefined, http: undefined, time: 0 }) as const;

/** The system's clock, so many times as fast. */
function hurried(times: number): Clock {
  const start = systemClock.monotonic();
  return {
    ...systemClock,
    monotonic: () => start + (systemClock.monotonic() - start) * times,
    after: (ms, act, hold) => systemClock.after(ms / times, act, hold),
  };
}

t.test(
  'a ClientHello that does not come ends the tunnel in its time, and nothing was dialled',
  async (t) => {
    await using upstream = await rawUpstream({ raw: (socket) => void socket.resume() });
    const destination = testDestination({
      name: 'web',
      hosts: ['web.example.com'],
      ports: [443],
      mode: 'passthrough',
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [destination],
      options: { clock: hurried(20) },
    });
    const line = await proxy.open();
    const began = performance.now();
    line.write('CONNECT web.example.com:443 HTTP/1.1\r\nHost: web.example.com:443\r\n\r\n');
    await line.sees('200');
    await proxy.quiet();
    const took = performance.now() - began;
    t.ok(took >= 450, `10 s of a clock twenty times as fast: ${took} ms`);
    t.match(proxy.audit.of('ended')[0], { outcome: /timeout/ });
    t.same(upstream.connections, []);
  },
);

t.test(
  'names beyond number do not fill memory: routes are forgotten and made again, with the same key',
  async (t) => {
    const table = routes();
    const destination = testDestination({ hosts: ['*.crm.internal'] });
    const first = table.to(destination, facts('a.crm.internal'));
    for (let i = 1; i < 1024; i += 1) table.to(destination, facts(`a${i}.crm.internal`));
    t.equal(table.to(destination, facts('a.crm.internal')), first, 'so many are remembered');
    table.to(destination, facts('one-more.crm.internal'));
    const again = table.to(destination, facts('a.crm.internal'));
    t.not(again, first);
    t.equal(again.key(undefined).toString(), first.key(undefined).toString());
    t.equal(policyOf(destination).destinations.length, 1);
  },
);

t.test('a path is cut to its stated length in records, and sent whole', async (t) => {
  await using proxy = await testProxy({
    identity: 'none',
    destinations: [testDestination({ mode: 'plaintext' })],
  });
  t.equal(statusOf(await proxy.get(`http://crm.internal/${'a'.repeat(2000)}`)) > 400, true);
  const [decided] = proxy.audit.records;
  t.equal(decided?.kind === 'decided' && decided.path?.length, 512);
});
