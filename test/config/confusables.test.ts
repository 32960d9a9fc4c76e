import t from 'tap';
import { confusableNames, skeleton } from '../../lib/config/checks/confusables.ts';
import { destination } from '../policy/destination.ts';

const of = (...hosts: readonly string[]): readonly string[] =>
  confusableNames(
    hosts.map((host, i) => destination(`d${'abcdefgh'[i]}-${i}-site`, { hosts: [host] })),
  ).map(({ code, message }) => `${code}: ${message}`);

t.test('hosts that a reader takes for each other are named (A7)', async (t) => {
  const pairs: readonly (readonly [string, string])[] = [
    ['api.example.com', 'apl.example.com'],
    ['paypal.example', 'paypa1.example'],
    ['modern.example', 'modem.example'],
    ['github.example', 'githud.example'],
    ['github.example', 'gihtub.example'],
    ['github.example', 'githubs.example'],
    ['google.example', 'g00gle.example'],
  ];
  for (const [one, other] of pairs)
    t.match(of(one, other), [new RegExp(`${other} is easily taken for ${one}`)], other);
});

t.test('a host in letters of another script is shown as it reads (A7)', async (t) => {
  t.match(of('xn--pple-43d.example'), [
    /xn--pple-43d\.example reads аpple\.example, which looks like apple\.example/,
  ]);
  t.match(of('xn--80ak6aa92e.example', 'apple.example'), [
    /looks like apple\.example/,
    /apple\.example is easily taken for xn--80ak6aa92e\.example \(аррӏе\.example\)/,
  ]);
  t.equal(skeleton('xn--pple-43d.example'), skeleton('apple.example'));
  t.same(of('xn--bcher-kva.example'), [], 'a name in one script of its own is nobody else');
  t.same(of('xn--e1afmkfd.example'), [], 'nor is a word that no Latin letters look like');
});

const host = (i: number): { readonly hosts: readonly string[] } => ({
  hosts: [`service${i}.internal`],
});

t.test('series and names that are merely alike are left alone', async (t) => {
  const fine: readonly (readonly [string, string])[] = [
    ['node-1.example', 'node-2.example'],
    ['zone-a.example', 'zone-b.example'],
    ['crm.internal', 'cms.internal'],
    ['crm.internal', 'crm.external'],
    ['api.east.example', 'api.west.example'],
    ['shard1.example', 'shard12.example'],
  ];
  for (const pair of fine) t.same(of(...pair), [], pair.join(' '));
  const cost = (count: number): number => {
    const many = Array.from({ length: count }, (_, i) => destination(`s-${i}`, host(i)));
    const { user } = process.cpuUsage();
    t.same(confusableNames(many), []);
    return process.cpuUsage().user - user;
  };
  cost(500);
  t.ok(cost(4000) < 30 * cost(500), 'eight times as many cost nothing like sixty-four times');
});

t.test('names of destinations are compared too', async (t) => {
  const found = confusableNames([
    destination('billing', { hosts: ['a.x'] }),
    destination('biling', { hosts: ['b.y'] }),
  ]);
  t.match(found, [
    {
      about: 'destination biling',
      message: /its name biling is easily taken for billing, another destination/,
    },
  ]);
});
