/**
 * A webhook that approves step-ups, and everything it may do wrong: nothing but a fresh, signed
 * answer to this question decides.
 */
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { SIGNATURE, SKEW_SECONDS, approvalWebhook, sign } from '../../lib/api/approval-webhook.ts';
import { systemClock } from '../../lib/base/clock.ts';
import type { StepUp } from '../../lib/tasks/step-up.ts';
import { type Resolver, dnsResolver } from '../../lib/upstream/resolver.ts';
import { testAuthority } from '../support/authority.ts';
import { type Desk, STEP_UP, asks, desk, intent, rule } from '../tasks/fixture.ts';
import t, { type Test } from 'tap';

const SECRET = 's'.repeat(40);

interface Asked {
  readonly question: Readonly<Record<string, unknown>>;
  readonly signature: string;
  readonly body: string;
}

type Answer = (asked: Asked, response: ServerResponse) => void;

async function hook(
  t: Test,
  answer: Answer,
  secure?: { readonly cert: string; readonly key: string },
): Promise<{ readonly url: string; readonly asked: Asked[] }> {
  const asked: Asked[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse): void =>
    void take(request, response);
  const server =
    secure === undefined ? createServer(listener) : createSecureServer(secure, listener);
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const one = { question: JSON.parse(body), signature: String(request.headers[SIGNATURE]), body };
    asked.push(one);
    answer(one, response);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const scheme = secure === undefined ? 'http' : 'https';
  return {
    url: `${scheme}://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/ask`,
    asked,
  };
}

const signed = (response: ServerResponse, body: object, at = Date.now(), secret = SECRET): void => {
  const text = JSON.stringify(body);
  response.setHeader(SIGNATURE, sign(text, secret, at));
  response.end(text);
};

interface Case extends Desk {
  readonly stepUp: StepUp;
  readonly why: () => unknown;
}

async function asking(
  url: string,
  given: { readonly timeout?: number; readonly tries?: boolean; readonly resolver?: Resolver } = {},
): Promise<Case> {
  const d = desk(
    {},
    rule({ stepUp: [{ ...STEP_UP, approvers: new Set(['webhook']), maxCalls: 3 }] }),
  );
  const { task } = d.tasks.open(intent({ actions: ['read', 'write'] }));
  const stepUp = await asks(d, task, {}, 'because');
  const stop = new AbortController();
  const ask = approvalWebhook({
    url,
    secret: SECRET,
    timeout: given.timeout ?? 5000,
    clock: systemClock,
    resolver: given.resolver ?? dnsResolver({ clock: systemClock }),
    stepUps: () => d.tasks.stepUps,
    task: (id) => d.tasks.get(id),
    tell: (event) => {
      d.events.push(event);
      if (given.tries !== true) stop.abort();
    },
    signal: stop.signal,
  });
  await ask(stepUp);
  const why = (): unknown =>
    d.events.find(({ event }) => event === 'step-up-unanswered')?.detail['why'];
  return { ...d, stepUp, why };
}

const stateOf = ({ tasks, stepUp }: Case): string | undefined =>
  tasks.stepUps.get(stepUp.id)?.state;

t.test('a fresh, signed answer to the question decides, within what the policy has', async (t) => {
  const { url, asked } = await hook(t, ({ question }, response) =>
    signed(response, { decision: 'approve', nonce: question['nonce'], by: 'olga', maxCalls: 1000 }),
  );
  const one = await asking(url);
  t.equal(stateOf(one), 'approved');
  t.match(one.tasks.list()[0]?.approvals, [{ callsLeft: 3 }]);
  const [first] = asked;
  t.match(first?.question, {
    action: 'write',
    destination: 'crm',
    rule: 'write',
    call: { method: 'POST', path: '/v1/notes' },
    untrusted: { purpose: 'support', owner: 'alice', reason: 'because' },
    task: one.stepUp.task,
    reason: undefined,
  });
  t.equal(
    first?.signature,
    sign(first?.body ?? '', SECRET, Number(/t=(\d+)/.exec(first?.signature ?? '')?.[1]) * 1000),
    'the question is signed too',
  );
});

/** Keys that end an engine which describes them to itself are tried in a process of their own. */
const ODD = process.env['ODD_CURVES'] !== undefined;

for (const curve of ODD ? ['secp256k1', 'brainpoolP256r1'] : ['P-256']) {
  t.test(
    `a webhook whose CA has a key on ${curve} is heard over https, and one of another name is not`,
    async (t) => {
      const authority = await testAuthority();
      const middle = await authority.intermediate({
        pair: generateKeyPairSync('ec', { namedCurve: curve }),
      });
      const before = getCACertificates();
      setDefaultCACertificates([...before, authority.pem]);
      t.teardown(() => setDefaultCACertificates(before));
      for (const [name, state] of [
        ['localhost', 'approved'],
        ['other.internal', 'pending'],
      ] as const) {
        const { certificatesPem: cert, privateKeyPem: key } = await middle.svid('/hook', {
          dns: [name],
        });
        const { url } = await hook(
          t,
          ({ question }, response) => signed(response, yes(question['nonce'])),
          {
            cert,
            key,
          },
        );
        const resolver: Resolver = { resolve: async () => ['127.0.0.1'] };
        const one = await asking(url.replace('127.0.0.1', 'localhost'), { resolver });
        t.equal(stateOf(one), state, name);
        if (state === 'pending') t.match(one.why(), /cannot be reached/);
      }
    },
  );
}

t.test(
  'the process lives through a webhook whose CA has a key that ends the engine',
  { skip: ODD },
  async (t) => {
    const env = { PATH: process.env['PATH'], ODD_CURVES: 'yes' };
    const child = spawn(process.execPath, [import.meta.filename], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    t.same(await once(child, 'exit'), [0, null]);
  },
);

t.test('it may refuse, and the agent is told why', async (t) => {
  const { url } = await hook(t, ({ question }, response) =>
    signed(response, {
      decision: 'deny',
      nonce: question['nonce'],
      by: 'olga',
      reason: 'not today',
    }),
  );
  const one = await asking(url);
  t.match(one.tasks.stepUps.get(one.stepUp.id), { state: 'denied', answer: 'not today' });
});

const yes = (nonce: unknown): object => ({ decision: 'approve', nonce, by: 'olga' });

/** What is wrong, the answer, and what the event says. */
const WRONG: readonly (readonly [string, Answer, RegExp])[] = [
  [
    'no signature',
    ({ question }, r) => void r.end(JSON.stringify(yes(question['nonce']))),
    /has no chaperone-signature/,
  ],
  [
    'another secret',
    ({ question }, r) => signed(r, yes(question['nonce']), Date.now(), 'x'.repeat(40)),
    /not that of the shared secret/,
  ],
  [
    'an old answer',
    ({ question }, r) => signed(r, yes(question['nonce']), Date.now() - (SKEW_SECONDS + 5) * 1000),
    /ago, or ahead/,
  ],
  [
    'an answer from ahead',
    ({ question }, r) => signed(r, yes(question['nonce']), Date.now() + (SKEW_SECONDS + 5) * 1000),
    /ago, or ahead/,
  ],
  ['an answer to another question', (_, r) => signed(r, yes('other')), /another question/],
  ['no nonce', (_, r) => signed(r, { decision: 'approve', by: 'olga' }), /nonce/],
  [
    'another word',
    ({ question }, r) => signed(r, { ...yes(question['nonce']), decision: 'yes' }),
    /decision/,
  ],
  ['no JSON', (_, r) => signed(r, 'approve' as unknown as object), /not what is wanted/],
  [
    'the question itself',
    ({ body, signature }, r) => void r.setHeader(SIGNATURE, signature).end(body),
    /unknown key|not known/,
  ],
  [
    'a redirect',
    (_, r) => void r.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    /answered 302/,
  ],
  ['a failure', (_, r) => void r.writeHead(500).end(), /answered 500/],
  ['a cut', (_, r) => void r.destroy(), /cannot be reached/],
  ['silence', () => {}, /did not answer within/],
];

for (const [name, answer, why] of WRONG) {
  t.test(`${name} decides nothing`, async (t) => {
    const { url } = await hook(t, answer);
    const one = await asking(url, { timeout: 1000 });
    t.match(String(one.why()), why);
    t.equal(stateOf(one), 'pending');
    t.same(one.tasks.list()[0]?.approvals, []);
  });
}

t.test('far too long an answer decides nothing', async (t) => {
  const { url } = await hook(t, (_, response) => void response.end('x'.repeat(16_385)));
  const one = await asking(url);
  t.match(String(one.why()), /longer than 16384 bytes/);
  t.equal(stateOf(one), 'pending');
});

t.test('an answer that was good once cannot be played again', async (t) => {
  let kept: { readonly text: string; readonly signature: string } | undefined;
  const { url } = await hook(t, ({ question }, response) => {
    if (kept === undefined) {
      const text = JSON.stringify(yes(question['nonce']));
      kept = { text, signature: sign(text, SECRET, Date.now()) };
    }
    response.setHeader(SIGNATURE, kept.signature).end(kept.text);
  });
  t.equal(stateOf(await asking(url)), 'approved');
  const again = await asking(url);
  t.equal(stateOf(again), 'pending');
  t.match(String(again.why()), /another question/);
});

t.test('a webhook that is down is asked again, and then left alone', async (t) => {
  let count = 0;
  const { url } = await hook(t, ({ question }, response) => {
    count += 1;
    if (count === 1) response.writeHead(503).end();
    else signed(response, yes(question['nonce']));
  });
  const one = await asking(url, { tries: true });
  t.equal(stateOf(one), 'approved');
  t.equal(count, 2);
});

t.test('its name is resolved by the resolver of the sidecar', async (t) => {
  const { url, asked } = await hook(t, (one, response) =>
    signed(response, { decision: 'approve', nonce: one.question['nonce'], by: 'olga' }),
  );
  const names: string[] = [];
  const resolver: Resolver = {
    resolve: (name, { absolute }) => {
      names.push(absolute ? `${name}.` : name);
      return Promise.resolve(['127.0.0.1']);
    },
  };
  const { port } = new URL(url);
  const c = await asking(`http://approvals.internal:${port}/ask`, { resolver });
  t.equal(stateOf(c), 'approved');
  t.equal(asked.length, 1);
  t.same(names, ['approvals.internal']);
});
