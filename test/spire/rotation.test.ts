import t from 'tap';
import { follow } from './followed.ts';
import { startSpire } from './spire.ts';

t.setTimeout(120_000);

const ROTATIONS = 3;
const TTL_S = 20;

t.test(
  'new SVIDs arrive by themselves, each as the next generation and before the last one expires (C-20, C-21, C-32)',
  async (t) => {
    await using spire = await startSpire({ trustDomain: 'one.test' });
    await spire.createEntry({ spiffeId: '/agent', ttl: TTL_S });
    await spire.waitForSync();
    await using own = follow(spire);
    const first = await own.identity('the first SVID');
    const last = first.generation + ROTATIONS;
    await own.identity(`${ROTATIONS} rotations`, ({ generation }) => generation >= last, 60_000);

    const { identities } = own;
    t.equal(first.generation, 1);
    t.strictSame(
      identities.map(({ generation }) => generation),
      identities.map((_identity, at) => at + 1),
      'without a gap',
    );
    t.equal(
      new Set(identities.map(({ svid }) => svid.serial)).size,
      identities.length,
      'a new serial each',
    );
    const keys = identities.map(({ svid }) =>
      svid.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    );
    t.equal(new Set(keys).size, identities.length, 'and a new key each');
    for (const { svid } of identities) t.equal(svid.id, 'spiffe://one.test/agent');
    for (const [at, { svid }] of identities.entries()) {
      const before = identities[at - 1]?.svid;
      if (before === undefined) continue;
      t.ok(svid.notAfter > before.notAfter, 'lasts longer than the one before');
      t.ok(svid.notBefore < before.notAfter, 'came before that one expired');
    }
    t.equal(own.refusal(), undefined);
    t.match(own.source.metrics(), {
      rotations: identities.length - 1,
      reconnects: 0,
      discardedMessages: 0,
    });
    t.ok(
      own.states.every(({ kind }) => kind === 'current'),
      'never without an identity in between',
    );
  },
);
