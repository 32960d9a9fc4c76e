/**
 * A real squid as corporate proxy: tunnels with credentials, refusals in its own words, and names
 * that it resolves itself.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import type { Via } from '../../lib/policy/model/destination.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream } from '../support/upstream.ts';
import { missing } from './clients.ts';
import t, { type Test } from 'tap';

t.setTimeout(120_000);

const USER = 'agent:let me out';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/**
 * Lets tunnels to one port through, for the one user; loopback addresses too, since that is where
 * the upstreams of a test are.
 */
async function squid(
  t: Test,
  open: readonly number[],
): Promise<{ readonly port: number; readonly log: () => string }> {
  const folder = shortFolder(t);
  execFileSync('chmod', ['0777', folder]);
  const port = await freePort();
  const helper = join(folder, 'auth.sh');
  const words = USER.replace(':', ' ').replaceAll(' me', '%20me').replaceAll(' out', '%20out');
  writeFileSync(
    helper,
    `#!/bin/sh\nwhile read -r line; do [ "$line" = "${words}" ] && echo OK || echo ERR; done\n`,
    {
      mode: 0o755,
    },
  );
  writeFileSync(join(folder, 'hosts'), '127.0.0.1 crm.prod.example\n', { mode: 0o644 });
  const file = join(folder, 'squid.conf');
  writeFileSync(
    file,
    `http_port 127.0.0.1:${port}
pid_filename ${join(folder, 'squid.pid')}
access_log stdio:${join(folder, 'access.log')}
cache_log ${join(folder, 'cache.log')}
hosts_file ${join(folder, 'hosts')}
cache deny all
cache_mem 8 MB
shutdown_lifetime 0 seconds
auth_param basic program ${helper}
auth_param basic children 1
acl known proxy_auth REQUIRED
acl open port ${open.join(' ')}
http_access deny !open
http_access allow known
http_access deny all
`,
  );
  const child = spawn('squid', ['-N', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await until(
    'squid listens',
    async () => {
      if (child.exitCode !== null) throw new Error(`squid ended: ${said}`);
      const { connect } = await import('node:net');
      return new Promise<boolean>((resolve) => {
        const probe = connect(port, '127.0.0.1');
        probe.once('connect', () => (probe.destroy(), resolve(true)));
        probe.once('error', () => resolve(false));
      });
    },
    30_000,
  );
  return {
    port,
    log: () => execFileSync('cat', [join(folder, 'access.log')], { encoding: 'utf8' }),
  };
}

t.test('through a real squid', { skip: missing(['squid', '-v']) }, async (t) => {
  const authority = await testAuthority();
  const svid = await authority.svid('/web', { dns: ['web.example.com'] });
  await using upstream = await mtlsUpstream({ authority });
  await using web = await mtlsUpstream({ authority, svid, client: 'none' });
  const corporate = await squid(t, [upstream.port, web.port]);
  const folder = shortFolder(t);
  const [good, bad] = [join(folder, 'good'), join(folder, 'bad')];
  writeFileSync(good, `${USER}\n`);
  writeFileSync(bad, 'agent:wrong\n');
  const way = (basic: string | undefined): Via => ({
    secure: false,
    host: '127.0.0.1',
    port: corporate.port,
    roots: undefined,
    basic,
    text: `http://127.0.0.1:${corporate.port}`,
  });
  const at = { host: 'crm.prod.example', port: upstream.port };
  await using proxy = await testProxy({
    authority,
    destinations: [
      testDestination({ upstream: at, via: way(good) }),
      testDestination({ name: 'wrong', hosts: ['wrong.internal'], upstream: at, via: way(bad) }),
      testDestination({
        name: 'nobody',
        hosts: ['nobody.internal'],
        upstream: at,
        via: way(undefined),
      }),
      testDestination({
        name: 'closed',
        hosts: ['closed.internal'],
        upstream: { ...at, port: 9 },
        via: way(good),
      }),
      testDestination({
        name: 'lost',
        hosts: ['lost.internal'],
        upstream: { ...at, host: 'lost.invalid' },
        via: way(good),
      }),
      testDestination({
        name: 'tcp',
        hosts: ['tcp.internal'],
        ports: [5432],
        protocol: 'tcp',
        upstream: at,
        via: way(good),
      }),
      testDestination({
        name: 'web',
        hosts: ['web.example.com'],
        ports: [443],
        mode: 'passthrough',
        upstream: { host: '127.0.0.1', port: web.port },
        via: way(good),
      }),
    ],
  });

  await t.test('mTLS behind it: the peer is proved, the name is resolved by squid', async (t) => {
    const answer = await proxy.get('http://crm.internal/a');
    t.equal(statusOf(answer), 200, answer);
    t.equal(upstream.connections[0]?.spiffeId, 'spiffe://example.org/agent');
    t.same(proxy.asked, []);
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], {
      peer: 'spiffe://example.org/upstream',
      via: `http://127.0.0.1:${corporate.port}`,
    });
  });

  await t.test(
    'wrong credentials, none, a closed port, a name that it does not find: what it said is told',
    async (t) => {
      for (const [host, status] of [
        ['wrong', 407],
        ['nobody', 407],
        ['closed', 403],
        ['lost', 50],
      ] as const) {
        const answer = await proxy.get(`http://${host}.internal/`);
        t.equal(statusOf(answer), 502, host);
        t.match(
          refusal(answer),
          { code: 'via-refused', message: new RegExp(`it answered ${status}`) },
          host,
        );
        t.notMatch(answer, /squid|html/i, 'its page is not passed on');
      }
    },
  );

  await t.test('a tcp tunnel and a passthrough tunnel', async (t) => {
    const line = await proxy.open();
    line.write('CONNECT tcp.internal:5432 HTTP/1.1\r\nHost: tcp.internal:5432\r\n\r\n');
    await line.sees('200');
    line.write('GET /raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await line.sees('"/raw"');
    line.socket.destroy();
    const tunnel = await proxy.open();
    tunnel.write('CONNECT web.example.com:443 HTTP/1.1\r\nHost: web.example.com:443\r\n\r\n');
    await tunnel.sees('200');
    tunnel.socket.removeAllListeners('data');
    const tls = tlsConnect({
      socket: tunnel.socket,
      servername: 'web.example.com',
      ca: authority.pem,
    });
    tls.write('GET /inside HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n');
    let text = '';
    tls.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await until('the answer inside', () => text.includes('"/inside"'), 10_000);
    tls.destroy();
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  });

  await t.test('squid itself saw CONNECT alone, and our user', async (t) => {
    const log = await until('its log', () =>
      corporate.log().includes('/407') ? corporate.log() : undefined,
    );
    t.match(
      log,
      new RegExp(`TCP_TUNNEL/200 .* CONNECT crm\\.prod\\.example:${upstream.port} agent`),
    );
    t.notMatch(log, / GET | POST /);
  });
});
