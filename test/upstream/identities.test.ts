/** Agents with identities of their own: each goes out as itself, or not at all. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import type { Agent } from '../../lib/policy/model/agent.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import type { Identity } from '../../lib/spiffe/identity.ts';
import { type TestConnection, refusal, statusOf, testConnectionOver } from '../support/agent.ts';
import { type TestAuthority, testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type MtlsUpstream, mtlsUpstream } from '../support/upstream.ts';
import t, { type Test } from 'tap';

const agent = (name: string): Agent => ({
  name,
  purposes: undefined,
  identity: { hint: undefined, spiffeId: parseSpiffeId(`spiffe://example.org/${name}`) },
});
const [A, B, C] = [agent('a'), agent('b'), agent('c')];

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly upstream: MtlsUpstream;
  readonly authority: TestAuthority;
  readonly tokens: string[];
  at(agent: Agent): Promise<TestConnection>;
  get(agent: Agent, path?: string): Promise<string>;
  /** Issues these, the sidecar's own first. */
  issue(...paths: readonly string[]): Promise<void>;
  /** Moves the wall clock. */
  pass(ms: number): void;
  /** Whom the upstream has seen, connection by connection. */
  seen(): readonly (string | undefined)[];
}

let generations = 100;

const SOON_MS = 600_000;

/**
 * A path that begins with `soon:` is of an SVID that expires in ten minutes; the others in an hour.
 */
async function issued(authority: TestAuthority, paths: readonly string[]): Promise<Identity> {
  const svids = await Promise.all(
    paths.map(async (path) => {
      const notAfter = path.startsWith('soon:') ? { notAfter: Date.now() + SOON_MS } : {};
      return (await authority.svid(path.replace('soon:', ''), notAfter)).x509Svid;
    }),
  );
  const [svid] = svids;
  if (svid === undefined) throw new Error('nothing is issued');
  generations += 1;
  return { ...authority.identity(await authority.svid('/x'), [], generations), svid, svids };
}

async function room(t: Test, given: Parameters<typeof testDestination>[0] = {}): Promise<Room> {
  const authority = await testAuthority();
  const upstream = await mtlsUpstream({
    authority,
    http: (request, response) => {
      if (request.url !== '/stream')
        return void response.end(request.headers.authorization ?? 'ok');
      response.writeHead(200);
      response.write('first');
    },
  });
  const tokens: string[] = [];
  let passed = 0;
  const clock = { ...systemClock, now: () => Date.now() + passed };
  const proxy = await testProxy({
    authority,
    identity: await issued(authority, ['/own', '/a', '/b']),
    destinations: [
      testDestination({ upstream: { host: '127.0.0.1', port: upstream.port }, ...given }),
    ],
    fetchJwtSvid: async (audience, _, as) => {
      tokens.push(`${as} ${audience}`);
      return { token: `token-of-${as}`, expiresAt: Date.now() + 60_000 };
    },
    options: { agents: [A, B, C], clock },
  });
  const folder = shortFolder(t);
  for (const one of [A, B, C])
    await proxy.server.openForward(one, { path: join(folder, one.name), mode: 0o600 });
  const at = async ({ name }: Agent): Promise<TestConnection> => {
    const socket = connect(join(folder, name));
    await once(socket, 'connect');
    return testConnectionOver(socket);
  };
  return {
    proxy,
    upstream,
    authority,
    tokens,
    at,
    async get(one, path = '/') {
      const line = await at(one);
      line.write(
        `GET http://crm.internal${path} HTTP/1.1\r\nHost: crm.internal\r\nConnection: ` +
          `close\r\n\r\n`,
      );
      return line.ended();
    },
    async issue(...paths) {
      proxy.identity.set({
        kind: 'current',
        identity: await issued(authority, paths),
        problem: undefined,
      });
    },
    pass: (ms) => void (passed += ms),
    seen: () => upstream.connections.map(({ spiffeId }) => spiffeId),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

t.test(
  'each agent goes out with its own SVID, on connections of its own, and its records say so',
  async (t) => {
    await using r = await room(t);
    for (const one of [A, B, A, B]) t.equal(statusOf(await r.get(one)), 200);
    t.same(r.seen(), ['spiffe://example.org/a', 'spiffe://example.org/b']);
    t.match(
      r.proxy.audit.of('decided').map((record) => record),
      [A, B, A, B].map(({ name }) => ({ agent: name, spiffeId: `spiffe://example.org/${name}` })),
    );
  },
);

t.test(
  'an agent whose SVID is not issued is refused, never served with another; nor is what is nobody’s',
  async (t) => {
    await using r = await room(t);
    const missing = await r.get(C);
    t.equal(statusOf(missing), 503);
    t.match(refusal(missing), {
      code: 'no-identity',
      message: /agent c \(spiffe:\/\/example\.org\/c\)/,
    });
    const nobody = await r.proxy.get('http://crm.internal/');
    t.equal(statusOf(nobody), 503);
    t.match(refusal(nobody), { code: 'no-identity', message: /nobody has proved to be an agent/ });
    t.equal(r.upstream.connections.length, 0, 'the upstream was not even dialled');
    await r.issue('/own', '/c');
    t.equal(statusOf(await r.get(C)), 200);
    t.same(r.seen(), ['spiffe://example.org/c']);
  },
);

t.test(
  'an SVID that is no longer issued cuts the streams of its agent, and no others',
  async (t) => {
    await using r = await room(t);
    const lines = await Promise.all([A, B].map((one) => r.at(one)));
    for (const line of lines) {
      line.write('GET http://crm.internal/stream HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
      await line.sees('first');
    }
    await r.issue('/own', '/b');
    await until(
      'the stream of a is cut',
      () => lines[0]?.socket.readableEnded === true || lines[0]?.socket.destroyed === true,
    );
    t.same([lines[1]?.socket.destroyed, lines[1]?.socket.readableEnded], [false, false]);
    t.match(r.proxy.audit.of('redecided'), [{ effect: 'deny', code: 'no-identity' }]);
    t.equal(statusOf(await r.get(A)), 503);
    t.equal(statusOf(await r.get(B)), 200);
  },
);

t.test('tokens are asked for as each agent, and none goes out with that of another', async (t) => {
  await using r = await room(t, { credential: { kind: 'jwt-svid', audience: 'crm' } });
  t.match(await r.get(A), /token-of-spiffe:\/\/example\.org\/a$/);
  t.match(await r.get(B), /token-of-spiffe:\/\/example\.org\/b$/);
  t.match(await r.get(A), /token-of-spiffe:\/\/example\.org\/a$/);
  t.same(r.tokens, ['spiffe://example.org/a crm', 'spiffe://example.org/b crm']);
});

t.test(
  'an SVID of an agent that expires before the others is refused, never replaced, and what is open with it is cut',
  async (t) => {
    await using r = await room(t);
    await r.issue('/own', 'soon:/a', '/b');
    const lines = await Promise.all([A, B].map((one) => r.at(one)));
    for (const line of lines) {
      line.write('GET http://crm.internal/stream HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
      await line.sees('first');
    }
    const before = r.seen().length;
    r.pass(SOON_MS + 1000);
    const refused = await r.get(A);
    t.equal(statusOf(refused), 503);
    t.match(refusal(refused), {
      code: 'identity-expired',
      message: /example\.org\/a of agent a expired/,
    });
    t.equal(r.seen().length, before, 'the upstream was not even dialled');
    r.proxy.server.reauthorize();
    await until(
      'the stream of a is cut',
      () => lines[0]?.socket.readableEnded === true || lines[0]?.socket.destroyed === true,
    );
    t.same([lines[1]?.socket.destroyed, lines[1]?.socket.readableEnded], [false, false]);
    t.match(r.proxy.audit.of('redecided'), [{ effect: 'deny', code: 'identity-expired' }]);
    t.equal(statusOf(await r.get(B)), 200);
    t.ok(
      r
        .seen()
        .slice(before)
        .every((id) => id === 'spiffe://example.org/b'),
    );
    await r.issue('/own', '/a', '/b');
    t.equal(statusOf(await r.get(A)), 200, 'and goes on with its next one');
  },
);
