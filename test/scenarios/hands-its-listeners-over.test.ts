import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { testConnection } from '../support/agent.ts';
import { type HeldSocket, heldSocket } from '../support/held-sockets.ts';
import { until } from '../support/until.ts';
import type { TestProgram } from '../support/program.ts';
import { startInheriting } from '../support/sidecar-process.ts';
import { type SidecarSetup, sidecarSetup } from '../support/sidecar.ts';
import * as net from 'node:net';
import t, { type Test } from 'tap';

t.setTimeout(300_000);

function sidecar(
  t: Test,
  w: SidecarSetup,
  socket: HeldSocket,
  env: Record<string, string> = {},
): Sidecar {
  const started = startInheriting(t, w.folder, [socket], env);
  return {
    ...started,
    async ready() {
      const health = (): string | undefined =>
        /health 127\.0\.0\.1:(\d+)/.exec(started.text())?.[1];
      const port = await until('it listens', health, 60_000);
      const ask = async (): Promise<boolean> =>
        (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 200;
      await until('it is ready', ask, 60_000);
    },
  };
}

interface Sidecar extends TestProgram {
  ready(): Promise<void>;
}

/** A world whose documents say where the inherited socket is; each process has its own evidence. */
async function worldAt(port: number): Promise<SidecarSetup> {
  const w = await sidecarSetup({
    sinks: "[{ file: 'audit-{pid}.jsonl' }]",
    more: '  drain: 20s\n',
  });
  const file = join(w.folder, 'sidecar.yaml');
  const text = readFileSync(file, 'utf8')
    .replace(
      /forward: \{ address: '127\.0\.0\.1:0' \}/,
      `forward: { address: '127.0.0.1:${port}' }`,
    )
    .replace(/ {2}adminApi: .*\n/, '');
  writeFileSync(file, text);
  return w;
}

/**
 * Requests over a few connections that are kept, until it is told to stop; statuses and failures.
 */
function load(port: number): { readonly results: string[]; stop(): Promise<void> } {
  const results: string[] = [];
  let running = true;
  const one = async (agent: Agent): Promise<void> => {
    while (running) {
      results.push(await asked(port, agent));
    }
    agent.destroy();
  };
  const workers = Array.from({ length: 4 }, () =>
    one(new Agent({ keepAlive: true, maxSockets: 1 })),
  );
  return {
    results,
    async stop() {
      running = false;
      await Promise.all(workers);
    },
  };
}

function asked(port: number, agent: Agent): Promise<string> {
  return new Promise((settle) => {
    const call = request(
      {
        port,
        host: '127.0.0.1',
        agent,
        path: 'http://crm.internal/v1/customers',
        headers: { host: 'crm.internal' },
      },
      (answer) => {
        answer.resume();
        answer.on('end', () => settle(String(answer.statusCode)));
        answer.on('error', (failure) => settle(failure.message));
      },
    );
    call.on('error', (failure) => settle(failure.message));
    call.end();
  });
}

t.test(
  'a process takes the listeners of another over under load, and no request fails',
  async (t) => {
    const held = heldSocket();
    const { port } = held;
    await using w = await worldAt(port);
    const first = sidecar(t, w, held);
    await first.ready();
    const gets = load(port);
    await until('it serves', () => gets.results.length > 50, 60_000);
    const second = sidecar(t, w, held);
    await second.ready();
    const before = gets.results.length;
    await until('both serve', () => gets.results.length > before + 100, 60_000);
    first.child.kill('SIGTERM');
    await until('the first has ended', () => first.child.exitCode !== null, 60_000);
    t.equal(first.child.exitCode, 0);
    const after = gets.results.length;
    await until('the second serves alone', () => gets.results.length > after + 100, 60_000);
    await gets.stop();
    t.same(
      gets.results.filter((status) => status !== '200'),
      [],
      `of ${gets.results.length}`,
    );
    const files = readdirSync(w.folder).filter((name) => /^audit-\d+\.jsonl$/.test(name));
    t.same(
      files.toSorted(),
      [`audit-${first.child.pid}.jsonl`, `audit-${second.child.pid}.jsonl`].toSorted(),
    );
    let decided = 0;
    for (const name of files) {
      const records = readFileSync(join(w.folder, name), 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      decided += records.filter(({ kind }) => kind === 'decided').length;
      t.ok(
        records.some(({ kind }) => kind === 'decided'),
        `${name} has its share`,
      );
    }
    t.equal(decided, gets.results.length, 'each request stands in one of them');
  },
);

t.test('what is open at the old process goes on there until its drain ends', async (t) => {
  const held = heldSocket();
  const { port } = held;
  await using w = await worldAt(port);
  const first = sidecar(t, w, held);
  await first.ready();
  const line = net.connect(port, '127.0.0.1');
  t.teardown(() => line.destroy());
  let seen = '';
  line
    .on('data', (chunk: Buffer) => (seen += chunk.toString()))
    .on('error', () => 'the test is over');
  line.write('CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n');
  await until('the tunnel is open', () => /200 /.test(seen), 60_000);
  const kept = await testConnection(port);
  const ask = 'GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\n\r\n';
  kept.write(ask);
  await kept.sees(/^HTTP\/1\.1 200 /);
  t.notMatch(kept.text, /connection: close/i);
  const second = sidecar(t, w, held);
  await second.ready();
  first.child.kill('SIGTERM');
  await until('it drains', () => first.text().includes('draining'), 60_000);
  kept.write(ask);
  t.match(
    await kept.ended(),
    /HTTP\/1\.1 200 [^]*HTTP\/1\.1 200 [^]*connection: close/i,
    'and is told that it was the last',
  );
  line.write('ping');
  await until('the tunnel lives', () => seen.endsWith('ping'), 60_000);
  t.equal(await asked(port, new Agent()), '200', 'and new requests are served by the other');
  line.destroy();
  await until('the first has ended', () => first.child.exitCode !== null, 60_000);
});

t.test(
  'a socket that is for another process, or that nobody wants, is left alone and told',
  async (t) => {
    await using w = await worldAt(0);
    const other = sidecar(t, w, heldSocket(), { LISTEN_FDS: '0' });
    await other.ready();
    t.notMatch(other.text(), /inherited socket/);
    other.child.kill('SIGKILL');
    const stray = sidecar(t, w, heldSocket());
    await stray.ready();
    t.match(stray.text(), /the inherited socket 127\.0\.0\.1:\d+ is nobody's/);
  },
);
