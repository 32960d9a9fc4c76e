/**
 * Envoy whose certificate and trust bundle come from a SPIRE agent's SDS: both directions, each
 * side proving itself to the other by what SPIRE issued to its process.
 */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { systemClock } from '../../lib/base/clock.ts';
import { startDemoUpstream } from '../../lib/dev/upstream.ts';
import { NO_ENVOY, envoyProgram, spireSecrets, startEnvoy } from '../interop/envoy.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { follow } from './followed.ts';
import { startSpire } from './spire.ts';
import t from 'tap';

t.setTimeout(180_000);

const AGENT = 'spiffe://one.test/agent';
const ENVOY = 'spiffe://one.test/envoy';
const program = envoyProgram();

t.test(
  'Envoy with secrets from the SPIRE agent',
  { skip: program === undefined && NO_ENVOY },
  async (t) => {
    await using spire = await startSpire({ trustDomain: 'one.test' });
    await spire.createEntry({
      spiffeId: '/agent',
      selectors: [`unix:path:${process.execPath}`],
      ttl: 60,
    });
    await spire.createEntry({ spiffeId: '/envoy', selectors: [`unix:path:${program}`], ttl: 60 });
    await spire.waitForSync();
    await using own = follow(spire);
    await own.identity('the agent has an SVID');
    await using upstream = await startDemoUpstream({
      endpoint: spire.workloadApi,
      select: {},
      callers: [ENVOY],
      service: 'api',
      clock: systemClock,
    });
    await using envoy = await startEnvoy({
      program: program ?? '',
      folder: join(spire.dir, 'envoy'),
      secrets: spireSecrets(spire.agentSocket, ENVOY),
      reader: AGENT,
      upstream: { port: Number(upstream.address.split(':').at(-1)), peer: AGENT },
    });
    const at = { host: '127.0.0.1', port: envoy.server };
    await using proxy = await testProxy({
      destinations: [
        testDestination({ name: 'envoy', hosts: ['envoy.internal'], upstream: at, peers: [ENVOY] }),
        testDestination({
          name: 'wrong',
          hosts: ['wrong.internal'],
          upstream: at,
          peers: ['spiffe://one.test/somebody'],
        }),
      ],
      options: { identity: own.source },
    });

    await t.test(
      'as upstream it proves /envoy to us, sees /agent, and authorises by it',
      async (t) => {
        const answer = await proxy.get('http://envoy.internal/ok');
        t.equal(statusOf(answer), 200, answer);
        t.match(answer, /x-caller: spiffe:\/\/one\.test\/agent\r\n/);
        t.equal(statusOf(await proxy.get('http://envoy.internal/no')), 403);
        t.equal(refusal(await proxy.get('http://wrong.internal/ok')).code, 'upstream-identity');
        await proxy.quiet();
        t.match(proxy.audit.of('ended')[0], { outcome: 'completed', status: 200, peer: ENVOY });
      },
    );

    await t.test(
      'as client it proves /envoy to our server, which proves /agent to it',
      async (t) => {
        const asked = request({
          host: '127.0.0.1',
          port: envoy.client,
          path: '/v1/customers/1001',
          agent: false,
        }).end();
        const [answer] = (await once(asked, 'response')) as [IncomingMessage];
        t.equal(answer.statusCode, 200, await text(answer));
        t.equal(upstream.requests().at(-1)?.peer.spiffeId, ENVOY);
      },
    );
  },
);
