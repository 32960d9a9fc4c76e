/**
 * Servers that close connections: right after an answer, soon after, by a reset, as announced, or
 * at a time of their own. No POST may meet their close.
 */
import type { Socket } from 'node:net';
import type { TestConnection } from '../support/agent.ts';
import { rule, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

t.setTimeout(240_000);

const METHODS = ['GET', 'PUT', 'POST'];

interface Closing {
  readonly fields?: string;
  /** After each answer: which one it was on its connection. */
  readonly after: (socket: Socket, answers: number) => void;
}

interface Counting extends RawUpstream {
  readonly posts: number;
  readonly gets: number;
}

/** Answers each request that is read whole, and then does what `closing` says. */
async function closing({ fields = '', after }: Closing): Promise<Counting> {
  const seen = { posts: 0, gets: 0 };
  const upstream = await rawUpstream({
    raw(socket) {
      let text = '';
      let answers = 0;
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        const at = text.indexOf('\r\n\r\n');
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
        if (at < 0 || text.length < at + 4 + length) return;
        if (text.startsWith('GET')) seen.gets++;
        else seen.posts++;
        text = '';
        answers++;
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${fields}\r\nok`);
        after(socket as Socket, answers);
      });
    },
  });
  return Object.defineProperties(upstream, {
    posts: { get: () => seen.posts },
    gets: { get: () => seen.gets },
  }) as Counting;
}

function over(upstream: RawUpstream): Promise<TestProxy> {
  const to = { host: '127.0.0.1', port: upstream.port };
  const rules = [rule('all', 'allow', { methods: METHODS })];
  return testProxy({ destinations: [testDestination({ mode: 'plaintext', upstream: to, rules })] });
}

/** Sends on a connection that is kept and returns the status. */
async function send(line: TestConnection, method: string): Promise<number> {
  const from = line.text.length;
  const body = method === 'GET' ? '' : 'body';
  line.write(
    `${method} http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: ` +
      `${body.length}\r\n\r\n${body}`,
  );
  return until('a whole answer', () => {
    const text = line.text.slice(from);
    const at = text.indexOf('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    return at >= 0 && text.length >= at + 4 + length ? Number(text.slice(9, 12)) : undefined;
  });
}

interface Traffic {
  readonly agents: number;
  readonly each: number;
  /** Longest pause between two requests of an agent, in milliseconds; 0: none at all. */
  readonly pause: number;
}

/** Agents that send POSTs, and here and there a GET. Statuses of both. */
async function traffic(
  proxy: TestProxy,
  { agents, each, pause }: Traffic,
): Promise<{ posts: number[]; gets: number[] }> {
  const posts: number[] = [];
  const gets: number[] = [];
  const agent = async (): Promise<void> => {
    const line = await proxy.open();
    for (let i = 0; i < each; i += 1) {
      posts.push(await send(line, i % 2 === 0 ? 'POST' : 'PUT'));
      if (i % 5 === 4) gets.push(await send(line, 'GET'));
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * pause));
    }
    line.socket.end();
  };
  await Promise.all(Array.from({ length: agents }, agent));
  return { posts, gets };
}

const end = (socket: Socket): void => void socket.end();
const reset = (socket: Socket): void => void socket.resetAndDestroy();
const later =
  (ms: number, act: (socket: Socket) => void): Closing['after'] =>
  (socket) =>
    void setTimeout(act, ms, socket);

const SERVERS: Readonly<Record<string, Closing & { readonly pause: number }>> = {
  'a FIN with each answer': { after: end, pause: 0 },
  'a FIN with each answer, and pauses': { after: end, pause: 20 },
  'a FIN 1 ms after each answer': { after: later(1, end), pause: 3 },
  'a FIN 50 ms after each answer': { after: later(50, end), pause: 0 },
  'a FIN 50 ms after each answer, and pauses': { after: later(50, end), pause: 100 },
  'a reset 1 ms after each answer': { after: later(1, reset), pause: 3 },
  'a reset 50 ms after each answer': { after: later(50, reset), pause: 100 },
  'Keep-Alive: timeout=1, and a FIN then': {
    fields: 'Keep-Alive: timeout=1\r\n',
    after: later(1000, end),
    pause: 400,
  },
  'Keep-Alive: max, and a FIN then': {
    fields: 'Keep-Alive: timeout=60, max=0\r\n',
    after: end,
    pause: 5,
  },
};

for (const [name, server] of Object.entries(SERVERS))
  t.test(`no POST is lost to ${name}`, async (t) => {
    await using upstream = await closing(server);
    await using proxy = await over(upstream);
    const { posts, gets } = await traffic(proxy, { agents: 4, each: 30, pause: server.pause });
    t.same(
      posts.filter((status) => status !== 200),
      [],
      'POST and PUT',
    );
    t.same(
      gets.filter((status) => status !== 200),
      [],
      'GET',
    );
    t.equal(upstream.posts, 120, 'each was seen once');
  });

t.test('a server that keeps its connections is used over few of them', async (t) => {
  await using upstream = await closing({ after: () => {} });
  await using proxy = await over(upstream);
  const line = await proxy.open();
  let before = -1;
  await until('one of them is known to stay open', async () => {
    before = upstream.connections.length;
    t.equal(await send(line, 'POST'), 200);
    return before === upstream.connections.length;
  });
  for (let i = 0; i < 50; i += 1) t.equal(await send(line, 'POST'), 200);
  t.equal(upstream.connections.length, before);
  line.socket.end();
});

t.test(
  'a request that must not be sent twice takes a new connection where the server may close the old one',
  async (t) => {
    let open: Socket[] = [];
    await using upstream = await closing({ after: (socket) => void open.push(socket) });
    await using proxy = await over(upstream);
    const line = await proxy.open();
    const dials = async (method: string): Promise<number> => {
      const before = upstream.connections.length;
      t.equal(await send(line, method), 200);
      return upstream.connections.length - before;
    };
    t.equal(await dials('GET'), 1);
    t.equal(await dials('POST'), 1, 'nothing is known yet');
    await until('a connection has stayed open', async () => (await dials('POST')) === 0);
    t.equal(await dials('PUT'), 0);
    const idle = proxy.server.pools().idle;
    open[0]?.end();
    await until('its end is seen', () => proxy.server.pools().idle < idle);
    t.equal(await dials('POST'), 1, 'it closed one unannounced');
    t.equal(await dials('GET'), 0, 'what may be sent twice goes over the others');
    open = [];
    line.socket.end();
  },
);

t.test('past the time that a server announces its connection is not used again', async (t) => {
  await using upstream = await closing({ fields: 'Keep-Alive: timeout=1\r\n', after: () => {} });
  await using proxy = await over(upstream);
  const line = await proxy.open();
  t.equal(await send(line, 'GET'), 200);
  await new Promise((resolve) => setTimeout(resolve, 700));
  t.equal(await send(line, 'GET'), 200);
  t.equal(upstream.connections.length, 2);
  await using last = await closing({ fields: 'Keep-Alive: max=0\r\n', after: () => {} });
  await using c = await over(last);
  const other = await c.open();
  t.equal(await send(other, 'GET'), 200);
  t.equal(await send(other, 'GET'), 200);
  t.equal(last.connections.length, 2, 'nor past the number of requests');
  line.socket.end();
  other.socket.end();
});

t.test('where requests take new connections, few unused ones are left behind', async (t) => {
  await using upstream = await closing({
    after: (socket, answers) => void (answers > 1 && end(socket)),
  });
  await using proxy = await over(upstream);
  const line = await proxy.open();
  t.equal(await send(line, 'GET'), 200);
  t.equal(await send(line, 'GET'), 200, 'marks it');
  await until('it is closed', () => proxy.server.pools().idle === 0);
  for (let i = 0; i < 30; i += 1) t.equal(await send(line, 'POST'), 200);
  t.equal(upstream.connections.length, 31);
  t.ok(proxy.server.pools().idle <= 8, `${proxy.server.pools().idle} idle`);
  line.socket.end();
});

t.test(
  'of a server that closes unannounced at its own time, only what was on its way then is lost',
  async (t) => {
    // It closes each connection 300 ms after its last answer, and the agents pause about as long:
    // the worst there is.
    await using upstream = await closing({ after: idle(300) });
    await using proxy = await over(upstream);
    const agents = 8;
    const { posts } = await traffic(proxy, { agents, each: 20, pause: 600 });
    const lost = posts.filter((status) => status !== 200).length;
    t.comment(`${lost} of ${posts.length} lost`);
    t.ok(
      lost <= agents,
      `${lost} lost: at most the ones that were on their way at the first close`,
    );
  },
);

/** A server's own limit for unused connections. */
function idle(ms: number): Closing['after'] {
  const timers = new WeakMap<Socket, NodeJS.Timeout>();
  return (socket) => {
    clearTimeout(timers.get(socket));
    timers.set(socket, setTimeout(end, ms, socket));
    socket.once('data', () => clearTimeout(timers.get(socket)));
  };
}
