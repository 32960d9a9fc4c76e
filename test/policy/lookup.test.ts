import fc from 'fast-check';
import t from 'tap';
import { buildPolicy, tiesOf } from '../../lib/policy/decision/lookup.ts';
import { destination, policy } from './destination.ts';

t.test('the most specific host wins: exact over wildcard, longer over shorter', async (t) => {
  const { find } = policy(
    destination('wide', { hosts: ['*.example.com'], ports: [80, 443] }),
    destination('narrow', { hosts: ['*.api.example.com'], ports: [443] }),
    destination('exact', { hosts: ['a.api.example.com'], ports: [443] }),
  );
  const cases: readonly (readonly [string, number, string | undefined])[] = [
    ['a.api.example.com', 443, 'exact'],
    ['b.api.example.com', 443, 'narrow'],
    ['x.b.api.example.com', 443, 'narrow'],
    ['api.example.com', 443, 'wide'],
    ['a.api.example.com', 80, 'wide'],
    ['b.example.com', 80, 'wide'],
    ['b.example.com', 8080, undefined],
    ['other.com', 443, undefined],
  ];
  for (const [host, port, name] of cases) t.equal(find(host, port)?.name, name, `${host}:${port}`);
});

t.test(
  'a wildcard is one or more labels, never the apex, and only at a dot (A9, A10)',
  async (t) => {
    const { find } = policy(destination('any', { hosts: ['*.example.com'] }));
    t.equal(find('a.example.com', 80)?.name, 'any');
    t.equal(find('b.a.example.com', 80)?.name, 'any');
    t.equal(find('example.com', 80), undefined);
    t.equal(find('evilexample.com', 80), undefined);
    t.equal(find('a.example.com.evil.com', 80), undefined);
  },
);

t.test('addresses are found by their canonical text', async (t) => {
  const { find } = policy(destination('ip', { hosts: ['10.0.0.5', '[2001:db8::1]'] }));
  t.equal(find('10.0.0.5', 80)?.name, 'ip');
  t.equal(find('2001:db8::1', 80)?.name, 'ip');
  t.equal(find('0.0.5', 80), undefined);
});

t.test(
  'a port that is not listed is not served, and the listed ones are known (A11)',
  async (t) => {
    const { find, portsOf } = policy(
      destination('a', { hosts: ['a.example.com'], ports: [8443, 443] }),
      destination('b', { hosts: ['*.example.com'], ports: [80] }),
    );
    t.equal(find('a.example.com', 22), undefined);
    t.same(portsOf('a.example.com'), [80, 443, 8443]);
    t.same(portsOf('z.example.com'), [80]);
    t.same(portsOf('example.com'), []);
  },
);

t.test(
  'two destinations that claim the same pattern and port tie; other ports do not',
  async (t) => {
    const a = destination('a', { hosts: ['x.example.com', '*.example.com'], ports: [80, 443] });
    const b = destination('b', { hosts: ['x.example.com', '*.example.com'], ports: [443, 8443] });
    t.same(
      tiesOf([a, b]).map(
        ({ pattern, port, first, second }) => `${pattern} ${port} ${first.name} ${second.name}`,
      ),
      ['x.example.com 443 a b', '*.example.com 443 a b'],
    );
    t.same(tiesOf([a, destination('c', { hosts: ['x.example.com'], ports: [8080] })]), []);
    t.throws(() => policy(a, b), TypeError);
    t.throws(
      () =>
        policy(
          destination('a', { hosts: ['p.example.com'] }),
          destination('a', { hosts: ['q.example.com'] }),
        ),
      TypeError,
    );
  },
);

t.test('a policy cannot be changed', async (t) => {
  const made = policy(destination('a'));
  t.ok(Object.isFrozen(made));
  t.ok(Object.isFrozen(made.destinations));
});

t.test('find agrees with a search of every pattern', async (t) => {
  const label = fc.constantFrom('a', 'b');
  const name = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join('.'));
  const pattern = fc.tuple(fc.boolean(), name).map(([wild, host]) => (wild ? `*.${host}` : host));
  const set = fc.uniqueArray(fc.tuple(pattern, fc.constantFrom(80, 443)), {
    maxLength: 20,
    selector: ([host, port]) => `${host} ${port}`,
  });
  let hits = 0;
  fc.assert(
    fc.property(set, name, fc.constantFrom(80, 443), (pairs, host, port) => {
      const destinations = pairs.map(([text, at], i) =>
        destination(`d${i}`, { hosts: [text], ports: [at] }),
      );
      const { find } = buildPolicy({ generation: 1, digest: '', destinations, unlisted: 'deny' });
      const holds = (text: string): boolean =>
        text.startsWith('*.') ? host.endsWith(text.slice(1)) : host === text;
      const best = destinations
        .filter(({ hosts, ports }) => holds(hosts[0]?.text ?? '') && ports[0] === port)
        .sort((x, y) => rank(y.hosts[0]?.text ?? '') - rank(x.hosts[0]?.text ?? ''))[0];
      if (best !== undefined) hits += 1;
      return find(host, port) === best;
    }),
    { numRuns: 3000 },
  );
  t.ok(hits > 300, `${hits} found something`);
});

function rank(text: string): number {
  return (text.startsWith('*.') ? 0 : 1000) + text.length;
}

t.test('looking up costs the same with 10 destinations as with 10,000', async (t) => {
  const build = (count: number) =>
    policy(
      ...Array.from({ length: count }, (_, i) =>
        destination(`d${i}`, { hosts: [`d${i}.example.com`, `*.w${i}.example.com`] }),
      ),
    );
  const few = build(10);
  const many = build(10_000);
  const hosts = Array.from({ length: 10 }, (_, i) => [
    `d${i}.example.com`,
    `x.y.w${i}.example.com`,
    `no${i}.example.org`,
  ]).flat();
  const cost = (find: (host: string, port: number) => unknown): number => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < 30_000; i += 1) find(hosts[i % hosts.length] ?? '', 80);
    return Number(process.hrtime.bigint() - start);
  };
  const best = (find: (host: string, port: number) => unknown): number =>
    Math.min(...Array.from({ length: 7 }, () => cost(find)));
  best(few.find);
  best(many.find);
  const ratio = best(many.find) / best(few.find);
  t.ok(
    ratio < 20,
    `10,000 cost ${ratio.toFixed(2)} times 10; a search would cost hundreds of times`,
  );
});
