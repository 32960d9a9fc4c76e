/** The end of all that is live: a drain, a shutdown, and many ends one after another. */
import { Fault } from '../../lib/base/fault.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { rule, testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { stream, streaming } from './streaming.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';
import t from 'tap';

t.test(
  'drain: idle connections end, what runs is finished, nothing new is accepted; the signal cuts what is left',
  async (t) => {
    let finish: (() => void) | undefined;
    await using upstream = await rawUpstream({
      http: (_, response) => void (finish = () => void response.end('done')),
    });
    const destinations = [
      testDestination({ mode: 'plaintext', upstream: { host: '127.0.0.1', port: upstream.port } }),
    ];
    await using proxy = await testProxy({ identity: 'none', destinations });
    const port = proxy.port();
    const idle = await proxy.open();
    const busy = proxy.get('http://crm.internal/');
    const done = await until('the request has reached the upstream', () => finish);
    const drained = proxy.server.drain(new AbortController().signal);
    await idle.ended();
    const { testConnection } = await import('../support/agent.ts');
    const late = await testConnection(port);
    t.equal(await late.ended(), '');
    done();
    t.match(await busy, /done$/);
    await drained;
    t.match(proxy.audit.of('ended'), [{ outcome: 'completed' }]);

    await using c = await testProxy({ identity: 'none', destinations });
    const stuck = await c.open();
    stuck.write('GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await until(
      'a request is under way',
      () => c.server.live() === 1 && c.audit.of('decided').length === 1,
    );
    const deadline = new AbortController();
    const forced = c.server.drain(deadline.signal);
    deadline.abort(new Fault('shutting-down', 'the drain took too long'));
    await forced;
    await until('the agent is cut', () => stuck.reset || stuck.socket.destroyed);
    t.match(c.audit.of('ended'), [{ outcome: 'shutting-down' }]);
    t.same(unpaired(c.audit.records), []);
  },
);

t.test('shutdown cuts everything at once and leaves no socket', async (t) => {
  const authority = await testAuthority();
  await using upstream = await streaming(authority);
  const proxy = await testProxy({
    authority,
    destinations: [testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } })],
  });
  const line = await stream(proxy);
  proxy.shutdown.abort(new Fault('shutting-down', 'second signal'));
  await until('the agent is cut', () => line.reset);
  await proxy.quiet();
  t.match(proxy.audit.of('ended'), [{ outcome: 'shutting-down' }]);
  await proxy.server[Symbol.asyncDispose]();
  await upstream.quiet();
});

t.test(
  'two hundred requests over many ends: each has its two records and no socket is left (invariant 6)',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) =>
        void socket
          .on('end', () => socket.end())
          .on('data', (chunk: Buffer) => {
            const path = /^\w+ (\S+)/.exec(chunk.toString('latin1'))?.[1];
            if (path === '/cut') socket.destroy();
            else if (path === '/half')
              socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
            else if (path !== '/slow')
              socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
          }),
    });
    const at = { host: '127.0.0.1', port: upstream.port };
    const rules = [rule('no', 'deny', { paths: ['/deny'] }), rule('yes', 'allow', {})];
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [
        testDestination({ mode: 'plaintext', rules, upstream: at, timeouts: { headers: 300 } }),
      ],
    });
    const kinds = ['/ok', '/cut', '/half', '/slow', '/deny', '/leave', '/malformed', '/unlisted'];
    const each = Array.from({ length: 200 }, async (_, i) => {
      const kind = kinds[i % kinds.length] ?? '/ok';
      const line = await proxy.open();
      const path = kind === '/leave' ? '/slow' : kind;
      const host = kind === '/unlisted' ? 'no.internal' : 'crm.internal';
      line.write(
        `GET http://${host}${path}${kind === '/malformed' ? '#' : ''} HTTP/1.1\r\nHost: ` +
          `${host}\r\nConnection: close\r\n\r\n`,
      );
      if (kind !== '/leave') return line.ended();
      await until('it is live', () => proxy.audit.records.length > 0);
      line.socket.resetAndDestroy();
      return '';
    });
    await Promise.all(each);
    await proxy.quiet();
    const outcomes = proxy.audit
      .of('ended')
      .map((one) => (one.kind === 'ended' ? one.outcome : ''));
    t.ok(outcomes.length >= 175 && outcomes.length <= 200, `${outcomes.length} exchanges`);
    for (const wanted of ['completed', 'upstream-cut', 'upstream-timeout', 'denied', 'malformed'])
      t.ok(outcomes.includes(wanted), wanted);
    t.same(unpaired(proxy.audit.records), []);
    t.match(proxy.server.pools(), { leased: 0, dialling: 0, waiting: 0 });
  },
);
