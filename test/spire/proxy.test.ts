/**
 * The main job against the real thing: requests go out as mTLS between two identities that SPIRE
 * issued to two processes, and survive their rotation.
 */
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type Followed, follow } from './followed.ts';
import { startSpire } from './spire.ts';
import { SLOW_MS, type UpstreamProcess, startUpstream } from './upstream.ts';
import t from 'tap';

t.setTimeout(180_000);

const LOOP_MS = 30_000;
const TTL_S = 20;

interface Scene {
  readonly own: Followed;
  readonly upstream: UpstreamProcess;
  readonly proxy: TestProxy;
}

/**
 * One trust domain, this process as /agent, a child as /crm; `crm` expects /crm, `wrong` expects
 * somebody else at the same address.
 */
async function withScene(run: (scene: Scene) => Promise<void>): Promise<void> {
  await using spire = await startSpire({ trustDomain: 'one.test' });
  const program = await spire.program('crm');
  await spire.createEntry({
    spiffeId: '/agent',
    selectors: [`unix:path:${process.execPath}`],
    ttl: TTL_S,
  });
  await spire.createEntry({ spiffeId: '/crm', selectors: [program.selector], ttl: TTL_S });
  await spire.waitForSync();
  await using upstream = await startUpstream(program, spire.workloadApi, 'one.test');
  await using own = follow(spire);
  await own.identity('the agent has an SVID');
  const at = { host: '127.0.0.1', port: upstream.port };
  await using proxy = await testProxy({
    destinations: [
      testDestination({
        name: 'crm',
        hosts: ['crm.internal'],
        peers: ['spiffe://one.test/crm'],
        upstream: at,
      }),
      testDestination({
        name: 'wrong',
        hosts: ['wrong.internal'],
        peers: ['spiffe://one.test/billing'],
        upstream: at,
      }),
    ],
    options: { identity: own.source },
  });
  await run({ own, upstream, proxy });
}

interface Loop {
  readonly problems: readonly string[];
  readonly answers: readonly { readonly caller: string; readonly shown: string }[];
  count(): number;
}

/** Asks again and again over one agent, until the deadline. */
async function asking(
  loop: { problems: string[]; answers: Loop['answers'][number][] },
  port: number,
  work: Work,
): Promise<void> {
  const agent = new Agent({ keepAlive: work.keepAlive, maxSockets: 1 });
  while (performance.now() < work.until) {
    try {
      const asked = request({
        host: '127.0.0.1',
        port,
        path: `http://crm.internal${work.path}`,
        headers: { host: 'crm.internal' },
        agent,
      }).end();
      const [answer] = (await once(asked, 'response')) as [IncomingMessage];
      const body = await text(answer);
      if (answer.statusCode !== 200)
        loop.problems.push(`${work.path}: ${answer.statusCode} ${body}`);
      else loop.answers.push(JSON.parse(body) as Loop['answers'][number]);
    } catch (failure) {
      loop.problems.push(`${work.path}: ${String(failure)}`);
    }
    await wait(work.pauseMs);
  }
  agent.destroy();
}

interface Work {
  readonly path: string;
  readonly keepAlive: boolean;
  readonly pauseMs: number;
  readonly until: number;
}

t.test(
  'a request goes out as mTLS between two SVIDs; a peer that policy does not expect gets not one byte',
  async (t) => {
    await withScene(async ({ own, upstream, proxy }) => {
      const answer = await proxy.get('http://crm.internal/v1/customers');
      t.equal(statusOf(answer), 200, answer);
      t.equal(upstream.seen.length, 1);
      t.match(upstream.seen[0], { names: 'URI:spiffe://one.test/agent', resumed: false });
      t.ok(
        own.identities.some(({ svid }) => svid.serial === upstream.seen[0]?.serial),
        'the serial is one of ours',
      );
      await proxy.quiet();
      t.match(proxy.audit.of('decided'), [
        { spiffeId: 'spiffe://one.test/agent', effect: 'allow', destination: 'crm' },
      ]);
      t.match(proxy.audit.of('ended'), [
        { outcome: 'completed', status: 200, peer: 'spiffe://one.test/crm' },
      ]);

      const wrong = await proxy.get('http://wrong.internal/secret');
      t.equal(statusOf(wrong), 502, wrong);
      t.equal(refusal(wrong).code, 'upstream-identity');
      t.match(refusal(wrong).message, /spiffe:\/\/one\.test\/crm/, 'says who it was instead');
      await until('the upstream has seen that connection end', () => upstream.received.has(2));
      t.equal(upstream.received.get(2), 0, 'no application byte');
      await proxy.quiet();
      t.match(proxy.audit.of('ended')[1], { outcome: 'upstream-identity', status: 502 });
      t.same(unpaired(proxy.audit.records), []);
    });
  },
);

t.test(
  'rotation of both SVIDs under load loses no request, and cuts none that takes longer than an SVID',
  async (t) => {
    await withScene(async ({ own, upstream, proxy }) => {
      const loop = { problems: [] as string[], answers: [] as Loop['answers'][number][] };
      const end = performance.now() + LOOP_MS;
      const fast = { path: '/', pauseMs: 10, until: end };
      const slow = { path: '/slow', keepAlive: true, pauseMs: 0, until: end - SLOW_MS };
      await Promise.all([
        asking(loop, proxy.port(), { ...fast, keepAlive: true }),
        asking(loop, proxy.port(), { ...fast, keepAlive: true }),
        asking(loop, proxy.port(), { ...fast, keepAlive: false }),
        asking(loop, proxy.port(), slow),
      ]);
      t.same(loop.problems.slice(0, 5), []);
      t.ok(loop.answers.length > 500, `${loop.answers.length} requests`);
      const callers = new Set(loop.answers.map(({ caller }) => caller));
      const shown = new Set(loop.answers.map(({ shown }) => shown));
      t.ok(callers.size >= 4, `the upstream saw ${callers.size} SVIDs of ours`);
      t.ok(shown.size >= 4, `we saw ${shown.size} SVIDs of the upstream`);
      const ours = new Set(own.identities.map(({ svid }) => svid.serial));
      t.same(
        [...callers].filter((serial) => !ours.has(serial)),
        [],
        'all of them were issued to us',
      );
      t.same(
        upstream.seen.filter(({ resumed }) => resumed),
        [],
        'no session was resumed',
      );
      await proxy.quiet();
      t.same(unpaired(proxy.audit.records), []);
      const generations = new Set(
        proxy.audit.of('decided').map((record) => ('identity' in record ? record.identity : 0)),
      );
      t.ok(generations.size >= 4, 'records name the generation that each request used');
    });
  },
);
