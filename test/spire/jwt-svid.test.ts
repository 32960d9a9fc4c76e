import t from 'tap';
import { parseEndpoint } from '../../lib/identity/address.ts';
import { workloadApi } from '../../lib/identity/client.ts';
import { validateJwtSvid } from '../../lib/spiffe/jwt-svid.ts';
import { until } from '../support/until.ts';
import { follow } from './followed.ts';
import { startSpire } from './spire.ts';

t.setTimeout(120_000);

/** The same claims, an expiry a day later: no signature of anybody's fits. */
function prolonged(token: string): string {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { exp: number };
  const longer = Buffer.from(JSON.stringify({ ...claims, exp: claims.exp + 86_400 })).toString(
    'base64url',
  );
  return [header, longer, signature].join('.');
}

t.test(
  'a JWT-SVID for an audience is good there alone, by our validation and by the agent’s (C-53a, C-60, C-61, J-08)',
  async (t) => {
    await using spire = await startSpire({ trustDomain: 'one.test' });
    await spire.createEntry({ spiffeId: '/agent', hint: 'agent', jwtTtl: 60 });
    await spire.createEntry({ spiffeId: '/other', hint: 'other' });
    await spire.waitForSync();
    await using own = follow(spire, { hint: 'agent' });
    await own.identity('the SVID');
    const signal = AbortSignal.timeout(30_000);
    const bundles = await until('the JWT bundle', () => {
      const all = own.source.jwtBundles();
      return all.size > 0 ? all : undefined;
    });
    t.strictSame([...bundles.keys()], ['one.test']);

    const issued = await own.source.fetchJwtSvid('crm', signal);
    t.match(
      issued,
      { id: 'spiffe://one.test/agent', audience: ['crm'] },
      'of the identity that was selected',
    );
    const seconds = (issued.expiresAt - Date.now()) / 1000;
    t.ok(seconds > 30 && seconds <= 61, `expires in ${seconds} s`);
    const { token } = issued;

    const judge = { audience: 'crm', bundles, now: Date.now() };
    t.match(await validateJwtSvid(token, judge), {
      id: issued.id,
      audience: ['crm'],
      expiresAt: issued.expiresAt,
    });
    const wrong = validateJwtSvid(token, { ...judge, audience: 'billing' });
    await t.rejects(wrong, { code: 'bad-jwt-svid', message: /billing/ });
    const late = validateJwtSvid(token, { ...judge, now: issued.expiresAt + 60_000 });
    await t.rejects(late, { code: 'bad-jwt-svid', message: /expired/ });
    const forged = prolonged(token);
    await t.rejects(validateJwtSvid(forged, judge), {
      code: 'bad-jwt-svid',
      message: /was not signed by one\.test/,
    });
    await t.rejects(validateJwtSvid(token, { ...judge, bundles: new Map() }), {
      code: 'bad-jwt-svid',
    });

    const agent = workloadApi(parseEndpoint(spire.workloadApi));
    const { spiffeId, claims } = await agent.validateJwtSvid({ audience: 'crm', token }, signal);
    t.equal(spiffeId, issued.id);
    t.strictSame(claims?.['exp'], issued.expiresAt / 1000);
    await t.rejects(agent.validateJwtSvid({ audience: 'billing', token }, signal), {
      code: 'workload-api-refused',
    });
    await t.rejects(agent.validateJwtSvid({ audience: 'crm', token: forged }, signal), {
      code: 'workload-api-refused',
    });

    const all = await agent.fetchJwtSvid({ audience: ['crm'] }, signal);
    t.strictSame(
      all.svids.map(({ spiffeId }) => spiffeId).sort(),
      ['spiffe://one.test/agent', 'spiffe://one.test/other'],
      'without an ID: one of each identity',
    );
    const foreign = agent.fetchJwtSvid(
      { audience: ['crm'], spiffeId: 'spiffe://one.test/nobody' },
      signal,
    );
    await t.rejects(foreign, { code: 'workload-api-denied' });
    t.equal(own.refusal(), undefined, 'a call that was denied takes nothing away');
  },
);
