/** Two SPIRE servers: what crosses the border between their trust domains, and what does not. */
import t from 'tap';
import type { Fault } from '../../lib/base/fault.ts';
import type { Identity } from '../../lib/spiffe/identity.ts';
import { validateJwtSvid } from '../../lib/spiffe/jwt-svid.ts';
import { parsePeerPattern } from '../../lib/spiffe/pattern.ts';
import { parseTrustDomain } from '../../lib/spiffe/trust-domain.ts';
import { accepting, attempt, policy, type Outcome } from '../tls/fixture.ts';
import { until } from '../support/until.ts';
import { entryArguments, type Entry } from './entry.ts';
import { follow, type Followed } from './followed.ts';
import { startSpire, type Spire } from './spire.ts';

t.setTimeout(180_000);

const ONE = parseTrustDomain('one.test');
const TWO = parseTrustDomain('two.test');
const CLIENT = { spiffeId: '/client' };
const SERVER = { spiffeId: '/server' };

async function update(spire: Spire, id: string, entry: Entry): Promise<void> {
  await spire.server([
    'entry',
    'update',
    '-entryID',
    id,
    ...entryArguments(entry, spire.trustDomain),
  ]);
}

function fingerprints(identity: Identity, domain: typeof ONE): readonly string[] {
  return (identity.bundles.get(domain)?.anchors ?? [])
    .map(({ fingerprint256 }) => fingerprint256)
    .sort();
}

/** One call of one.test/client to two.test/server through lib/tls, as both ends saw it. */
async function call(
  client: Followed,
  server: Followed,
  peer = 'spiffe://two.test/server',
): Promise<{ readonly dialled: Outcome; readonly accepted: Outcome; readonly shown: Identity }> {
  const shown = server.source.current();
  await using accept = await accepting({
    identity: shown,
    callers: [parsePeerPattern('spiffe://one.test/client')],
  });
  const dialled = await attempt(accept, {
    identity: client.source.current(),
    tls: policy({ peers: [peer] }),
  });
  return { dialled, accepted: await accept.outcome, shown };
}

/** Whether a token of two.test is good in one.test. */
async function judged(client: Followed, server: Followed): Promise<Fault | string> {
  const { token } = await server.source.fetchJwtSvid('one', AbortSignal.timeout(10_000));
  const options = { audience: 'one', bundles: client.source.jwtBundles(), now: Date.now() };
  return validateJwtSvid(token, options).then(
    ({ id }) => id,
    (failure: unknown) => failure as Fault,
  );
}

t.test(
  'bundles cross while the entry says so: mTLS and JWT-SVIDs work then alone (C-22, C-23, C-30, C-31, X-09)',
  async (t) => {
    await using one = await startSpire({ trustDomain: 'one.test' });
    await using two = await startSpire({ trustDomain: 'two.test' });
    await Promise.all([one.federateWith(two), two.federateWith(one)]);
    const clientEntry = await one.createEntry(CLIENT);
    const serverEntry = await two.createEntry(SERVER);
    await Promise.all([one.waitForSync(), two.waitForSync()]);
    await using client = follow(one);
    await using server = follow(two);
    const apart = await client.identity('the client');
    await server.identity('the server');

    t.strictSame(
      [...apart.bundles.keys()],
      ['one.test'],
      'the server knows the other domain, the entry does not name it',
    );
    const nobody = await call(client, server);
    t.match(nobody.dialled.fault, { code: 'no-trust-bundle' });
    t.ok(nobody.accepted.fault);
    await until('the JWT bundle is there', () => client.source.jwtBundles().has(ONE));
    t.match(await judged(client, server), {
      code: 'bad-jwt-svid',
      message: /two\.test, of which there is no JWT bundle/,
    });

    await update(one, clientEntry, { ...CLIENT, federatesWith: ['two.test'] });
    const knows = await client.identity('the federated bundle', ({ bundles }) => bundles.has(TWO));
    t.ok(knows.generation > apart.generation);
    t.strictSame(
      fingerprints(knows, TWO),
      fingerprints(server.source.current(), TWO),
      'it is the other domain’s own',
    );
    const oneWay = await call(client, server);
    t.match(
      oneWay.accepted.fault,
      { code: 'no-trust-bundle' },
      'the server does not know the client yet',
    );

    await update(two, serverEntry, { ...SERVER, federatesWith: ['one.test'] });
    await server.identity('the federated bundle', ({ bundles }) => bundles.has(ONE));
    const both = await call(client, server);
    t.match(both.dialled.connection?.peer, {
      spiffeId: 'spiffe://two.test/server',
      serial: both.shown.svid.serial,
      protocol: 'TLSv1.3',
    });
    t.match(both.accepted.connection?.peer, { spiffeId: 'spiffe://one.test/client' });
    both.dialled.connection?.socket.destroy();
    const other = await call(client, server, 'spiffe://two.test/somebody-else');
    t.match(other.dialled.fault, { code: 'upstream-identity' });
    const pooled = await call(client, server, 'spiffe://one.test/server');
    t.match(
      pooled.dialled.fault,
      { code: 'upstream-tls' },
      'an anchor of two.test is none of one.test',
    );
    await until(
      'the federated JWT bundle is there',
      () => client.source.jwtBundles().has(TWO),
      30_000,
    );
    t.equal(await judged(client, server), 'spiffe://two.test/server');

    await update(one, clientEntry, CLIENT);
    const again = await client.identity(
      'the federated bundle is gone',
      ({ bundles }) => !bundles.has(TWO),
    );
    t.ok(again.generation > knows.generation);
    t.strictSame([...again.bundles.keys()], ['one.test']);
    const cut = await call(client, server);
    t.match(cut.dialled.fault, { code: 'no-trust-bundle' });
    await until(
      'the federated JWT bundle is gone',
      () => !client.source.jwtBundles().has(TWO),
      30_000,
    );
    t.match(await judged(client, server), { code: 'bad-jwt-svid' });
    t.equal(client.refusal(), undefined, 'our own identity is untouched');
  },
);
