import { createSecureContext } from 'node:tls';
import t from 'tap';
import { type Leaf, leafCache, MAX_LEAVES } from '../../lib/interception/leaf-cache.ts';

interface Issuer {
  readonly hosts: string[];
  now: number;
  readonly issue: (host: string) => Promise<Leaf>;
}

function issuer(life = 100): Issuer {
  const made: Issuer = {
    hosts: [],
    now: 0,
    async issue(host) {
      made.hosts.push(host);
      await new Promise((resolve) => setImmediate(resolve));
      return { context: createSecureContext(), renewAt: made.now + life };
    },
  };
  return made;
}

t.test('a host is issued for once, however many ask at one time', async (t) => {
  const from = issuer();
  const cache = leafCache({ issue: from.issue, now: () => from.now });
  const [first, second] = await Promise.all([
    cache.contextFor('a.test'),
    cache.contextFor('a.test'),
  ]);
  t.equal(first, second);
  t.equal(await cache.contextFor('a.test'), first);
  t.same(from.hosts, ['a.test']);
  t.same(cache.counts(), { kept: 1, issued: 1 });
});

t.test('a leaf near its end is replaced before it is shown', async (t) => {
  const from = issuer(100);
  const cache = leafCache({ issue: from.issue, now: () => from.now });
  const first = await cache.contextFor('a.test');
  from.now = 99;
  t.equal(await cache.contextFor('a.test'), first);
  from.now = 100;
  t.not(await cache.contextFor('a.test'), first);
  t.equal(from.hosts.length, 2);
  t.same(cache.counts(), { kept: 1, issued: 2 });
});

t.test('the least recently used leaf goes, and no more than the most are kept (T7)', async (t) => {
  const from = issuer();
  const cache = leafCache({ issue: from.issue, now: () => from.now });
  for (let i = 0; i < MAX_LEAVES; i += 1) await cache.contextFor(`h${i}.test`);
  await cache.contextFor('h0.test');
  await cache.contextFor('one-more.test');
  t.same(cache.counts(), { kept: 256, issued: 257 });
  await cache.contextFor('h0.test');
  t.equal(from.hosts.length, 257, 'h0 was used and is still there');
  await cache.contextFor('h1.test');
  t.equal(from.hosts.length, 258, 'h1 was the least recently used');
});

t.test('a failure is for those who asked, not for those who ask later', async (t) => {
  let fails = true;
  const cache = leafCache({
    issue: async () => {
      if (fails) throw new Error('no');
      return { context: createSecureContext(), renewAt: 1 };
    },
    now: () => 0,
  });
  await t.rejects(cache.contextFor('a.test'), /no/);
  fails = false;
  t.ok(await cache.contextFor('a.test'));
});
