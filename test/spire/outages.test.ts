/**
 * Being away is not being withdrawn: what was issued is used until it expires, and not a moment
 * longer.
 */
import t from 'tap';
import { follow } from './followed.ts';
import { startSpire } from './spire.ts';

t.setTimeout(180_000);

t.test(
  'the agent is killed: the SVID stays in use, and newer ones come once an agent is back (C-20, C-26, C-41)',
  async (t) => {
    await using spire = await startSpire({ trustDomain: 'one.test' });
    await spire.createEntry({ spiffeId: '/agent' });
    await spire.waitForSync();
    await using own = follow(spire);
    const before = await own.identity('the first SVID');

    await spire.stopAgent('SIGKILL');
    const away = await own.reaches('the loss is noticed', ({ problem }) => problem !== undefined);
    t.match(away, { kind: 'current', problem: /UNAVAILABLE/ });
    t.equal(own.source.current(), before, 'the same snapshot is in use');
    t.ok(
      own.notes.some(({ level, text }) => level === 'warn' && text.includes('UNAVAILABLE')),
      'and it is told',
    );

    t.ok(
      own.states.every(({ kind }) => kind === 'current'),
      'never without an identity while it is away',
    );
    await spire.startAgent();
    const after = await own.identity(
      'a newer SVID',
      ({ generation }) => generation > before.generation,
    );
    t.equal(after.generation, before.generation + 1);
    t.not(after.svid.serial, before.svid.serial);
    t.equal(after.svid.id, before.svid.id);
    const well = await own.reaches('all is well', ({ problem }) => problem === undefined);
    t.equal(well.kind, 'current');
    // This agent was attested anew, and its server needs up to a second to offer it the entries:
    // until then it says, truly, that it has none.
    const withdrawn = own.states.filter(({ kind }) => kind === 'withdrawn');
    t.ok(withdrawn.every(({ problem }) => problem?.includes('no identity issued')));
    t.notOk(own.states.some(({ kind }) => kind === 'waiting'));
    t.ok(
      own.notes.some(
        ({ level, text }) => level === 'info' && /well again after \d+ failed attempts/.test(text),
      ),
    );
  },
);

t.test(
  'the server is gone: the SVID is used until it expires, then refused, and renewed once a server is back (C-26)',
  async (t) => {
    await using spire = await startSpire({ trustDomain: 'one.test' });
    await spire.createEntry({ spiffeId: '/agent', ttl: 20 });
    await spire.waitForSync();
    await using own = follow(spire);
    await own.identity('the first SVID');

    await spire.stopServer('SIGKILL');
    // One may have been under way.
    const last = (): number => own.identities.at(-1)?.svid.notAfter ?? 0;
    while (own.refusal() === undefined && Date.now() < last() + 5000) {
      const [identity, now] = [own.source.current(), Date.now()];
      if (now > identity.svid.notAfter + 100)
        t.fail(`it is used ${now - identity.svid.notAfter} ms after it expired`);
      await own.reaches('a moment passes', () => Date.now() > now + 200);
    }
    const fault = own.refusal();
    t.match(fault, { code: 'identity-expired', http: 503, retriable: true });
    t.match(fault?.message, /the X\.509-SVID of spiffe:\/\/one\.test\/agent expired at \d{4}-/);
    t.ok(Date.now() - last() < 2000, `refused ${Date.now() - last()} ms after the end`);
    t.ok(Date.now() >= last(), 'and not before it');
    t.ok(
      own.states.every(({ kind }) => kind === 'current'),
      'it was not withdrawn',
    );

    const generation = own.identities.at(-1)?.generation ?? 0;
    await spire.startServer();
    const after = await own.identity(
      'a newer SVID',
      (identity) => identity.generation > generation,
      60_000,
    );
    t.ok(after.svid.notAfter > Date.now());
    t.equal(own.refusal(), undefined);
  },
);
