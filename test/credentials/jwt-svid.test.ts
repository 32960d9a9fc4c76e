import t from 'tap';
import { cell } from '../../lib/base/cell.ts';
import type { Clock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import {
  FETCH_TIMEOUT,
  type IssuedToken,
  jwtSvids,
  type JwtSvids,
  MARGIN,
  MAX_TOKENS,
} from '../../lib/credentials/jwt-svid.ts';
import type { Identity, IdentityState } from '../../lib/spiffe/identity.ts';
import { testAuthority } from '../support/authority.ts';

const LIFE = 300_000;
const NEVER = new AbortController().signal;

/** The token alone, as the upstream gets it. */
async function obtain(
  tokens: JwtSvids,
  audience: string,
  identity: Identity,
  signal: AbortSignal = NEVER,
): Promise<string> {
  const need = { policy: { kind: 'jwt-svid' as const, audience }, identity };
  const [, value = ''] = (await tokens.obtain(need, undefined, signal)).apply([]);
  return value.replace(/^Bearer /, '');
}
const ca = await testAuthority();
const agent = ca.identity(await ca.svid('/agent'));
const other = ca.identity(await ca.svid('/other'));

interface Bench {
  readonly tokens: JwtSvids;
  /** Audiences that were fetched, in order. */
  readonly asked: string[];
  readonly states: ReturnType<typeof cell<IdentityState>>;
  /** Moves time on. */
  readonly pass: (ms: number) => void;
  /** What the next fetches do. */
  answer: (audience: string, signal: AbortSignal) => Promise<IssuedToken>;
}

function bench(): Bench {
  let now = 1_000_000;
  const timers = new Set<{ readonly at: number; readonly act: () => void }>();
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    after(ms, act) {
      const timer = { at: now + ms, act };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
  };
  const states = cell<IdentityState>({ kind: 'current', identity: agent, problem: undefined });
  const asked: string[] = [];
  const made: Bench = {
    asked,
    states,
    pass(ms) {
      now += ms;
      for (const timer of [...timers].filter(({ at }) => at <= now)) {
        timers.delete(timer);
        timer.act();
      }
    },
    answer: async (audience) => ({ token: `${audience}-${asked.length}`, expiresAt: now + LIFE }),
    tokens: jwtSvids({
      issuer: {
        states,
        fetchJwtSvid(audience, signal) {
          asked.push(audience);
          return made.answer(audience, signal);
        },
      },
      clock,
      signal: NEVER,
    }),
  };
  return made;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('one token per identity and audience, fetched once for many askers (J-12)', async (t) => {
  const { tokens, asked } = bench();
  const all = await Promise.all(Array.from({ length: 20 }, () => obtain(tokens, 'crm', agent)));
  t.same(new Set(all), new Set(['crm-1']));
  t.equal(await obtain(tokens, 'erp', agent), 'erp-2');
  t.equal(await obtain(tokens, 'crm', other), 'crm-3', 'another identity has a token of its own');
  t.same(asked, ['crm', 'erp', 'crm']);
});

t.test('renewed at half life in the background, while the one at hand is still sent', async (t) => {
  const { tokens, asked, pass } = bench();
  await obtain(tokens, 'crm', agent);
  pass(LIFE / 2 - 1);
  await obtain(tokens, 'crm', agent);
  t.equal(asked.length, 1, 'not before half of its life');
  pass(1);
  t.equal(await obtain(tokens, 'crm', agent), 'crm-1');
  t.equal(asked.length, 2);
  await turn();
  t.equal(await obtain(tokens, 'crm', agent), 'crm-2');
});

t.test(
  'a Workload API that is away costs nothing while the token is valid, and says so after',
  async (t) => {
    const b = bench();
    await obtain(b.tokens, 'crm', agent);
    b.answer = () => Promise.reject(new Fault('workload-api-unavailable', 'no socket'));
    b.pass(LIFE / 2);
    t.equal(await obtain(b.tokens, 'crm', agent), 'crm-1');
    await turn();
    t.equal(await obtain(b.tokens, 'crm', agent), 'crm-1');
    t.equal(b.asked.length, 2, 'a failed renewal is not tried again at once');
    b.pass(LIFE / 2 - MARGIN);
    await t.rejects(obtain(b.tokens, 'crm', agent), {
      code: 'credential-unavailable',
      message: 'no JWT-SVID for audience "crm": no socket',
    });
  },
);

t.test('a token about to expire is not sent', async (t) => {
  const b = bench();
  b.answer = async () => ({ token: 'short', expiresAt: 1_000_000 + MARGIN });
  await obtain(b.tokens, 'crm', agent);
  await obtain(b.tokens, 'crm', agent);
  t.equal(b.asked.length, 2);
});

t.test('tokens are forgotten with the identity they speak for', async (t) => {
  const { tokens, states, asked } = bench();
  await obtain(tokens, 'crm', agent);
  states.set({ kind: 'current', identity: agent, problem: undefined });
  t.equal(tokens.size, 1, 'a rotation of the same SPIFFE ID keeps them');
  states.set({ kind: 'withdrawn', since: 0, denied: false, problem: 'no identity issued' });
  t.equal(tokens.size, 0);
  await obtain(tokens, 'crm', agent);
  t.equal(asked.length, 2);
  states.set({ kind: 'current', identity: other, problem: undefined });
  t.equal(tokens.size, 0);
});

t.test(
  'a fetch that hangs is given up, and an asker that leaves does not end it for the others',
  async (t) => {
    const b = bench();
    let give: (token: IssuedToken) => void = () => {};
    b.answer = () => new Promise((resolve) => (give = resolve));
    const leaving = new AbortController();
    const [left, stayed] = [
      obtain(b.tokens, 'crm', agent, leaving.signal),
      obtain(b.tokens, 'crm', agent),
    ];
    leaving.abort(new Fault('client-gone', 'gone'));
    await t.rejects(left, { code: 'client-gone' });
    give({ token: 'late', expiresAt: 2_000_000 });
    t.equal(await stayed, 'late');
    b.answer = (_, signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason)),
      );
    const hung = obtain(b.tokens, 'erp', agent);
    b.pass(FETCH_TIMEOUT);
    await t.rejects(hung, {
      code: 'credential-unavailable',
      message: /did not answer within 5000 ms/,
    });
  },
);

t.test('the cache is bounded, least recently used first out', async (t) => {
  const { tokens, asked } = bench();
  await obtain(tokens, 'first', agent);
  for (let i = 1; i < MAX_TOKENS; i += 1) await obtain(tokens, `a${i}`, agent);
  await obtain(tokens, 'first', agent);
  await obtain(tokens, 'one more', agent);
  t.equal(tokens.size, MAX_TOKENS);
  const before = asked.length;
  await obtain(tokens, 'first', agent);
  t.equal(asked.length, before, 'what was used lately is kept');
  await obtain(tokens, 'a1', agent);
  t.equal(asked.length, before + 1, 'what was not is fetched anew');
});
