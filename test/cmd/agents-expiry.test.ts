/**
 * When the SVID of an agent expires while the sidecar's own is good, what is live is decided again.
 */
import t from 'tap';
import { lapses } from '../../cmd/compose/identity.ts';
import type { Identity } from '../../lib/spiffe/identity.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { testAuthority } from '../support/authority.ts';

t.test(
  'each SVID of an agent that expires is noticed, one that is renewed in the same moment or not',
  async (t) => {
    const authority = await testAuthority();
    const begun = Date.now();
    const issue = async (lives: Readonly<Record<string, number>>): Promise<Identity> => {
      const issued = Object.entries(lives).map(([name, ms]) =>
        authority.svid(`/${name}`, { notAfter: begun + ms }),
      );
      const svids = (await Promise.all(issued)).map(({ x509Svid }) => x509Svid);
      return { ...authority.identity(await authority.svid('/own')), svids };
    };
    const own = ['a', 'b'].map((name) => ({
      name,
      identity: { hint: undefined, spiffeId: parseSpiffeId(`spiffe://example.org/${name}`) },
    }));
    let [now, decided] = [begun, 0];
    const look = lapses(own, { now: () => now }, () => (decided += 1));
    const first = await issue({ a: 60_000, b: 120_000 });
    look(first);
    t.equal(decided, 0, 'both are good');
    now = begun + 61_000;
    look(first);
    t.equal(decided, 1, 'that of a has expired');
    look(first);
    t.equal(decided, 1, 'which is not news');
    now = begun + 121_000;
    look(await issue({ a: 600_000, b: 120_000 }));
    t.equal(decided, 2, 'that of b has expired while that of a was renewed');
  },
);
