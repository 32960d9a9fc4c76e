import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { until } from '../support/until.ts';
import { run } from './run.ts';
import { startSpire, type Spire } from './spire.ts';

t.setTimeout(180_000);

/** IDs in the answer of `spire-agent api fetch x509`. */
async function fetchedIds(spire: Spire): Promise<readonly string[]> {
  const answer = await spire.agent(['api', 'fetch', 'x509', '-output', 'json']);
  const { svids } = JSON.parse(answer.stdout) as {
    readonly svids: readonly { readonly spiffe_id: string }[];
  };
  return svids.map((svid) => svid.spiffe_id).sort();
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/**
 * A process that ended but whose parent does not ask for its status still has its number, with no
 * command line.
 */
async function gone(pid: number): Promise<boolean> {
  if (!alive(pid)) return true;
  return (
    existsSync('/proc/self') &&
    (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')) === ''
  );
}

t.test(
  'the agent serves the SVID of an entry, with its lifetime, until the entry is deleted',
  async (t) => {
    await using spire = await startSpire({ trustDomain: 'one.test' });
    const id = await spire.createEntry({
      spiffeId: '/agents/research',
      ttl: 60,
      hint: 'research',
      dns: ['research.test'],
    });
    await spire.waitForSync();
    t.strictSame(await fetchedIds(spire), ['spiffe://one.test/agents/research']);

    const written = join(spire.dir, 'svid');
    await run('mkdir', [written]);
    const shown = await spire.agent(['api', 'fetch', 'x509', '-write', written]);
    t.match(shown.stdout, /Hint:\s+research/);
    const certificate = await run('openssl', [
      'x509',
      '-in',
      join(written, 'svid.0.pem'),
      '-noout',
      '-text',
    ]);
    t.match(certificate.stdout, /DNS:research\.test, URI:spiffe:\/\/one\.test\/agents\/research/);
    const lifetime = /Not Before: (.*)\n\s+Not After : (.*)\n/.exec(certificate.stdout);
    const seconds = (Date.parse(lifetime?.[2] ?? '') - Date.parse(lifetime?.[1] ?? '')) / 1000;
    t.ok(seconds >= 60 && seconds <= 75, `60 s and the ten before it was made, not ${seconds}`);

    await spire.deleteEntry(id);
    await spire.waitForSync();
    await t.rejects(fetchedIds(spire), /PermissionDenied desc = no identity issued/);
  },
);

t.test('two programs of one user have two identities', async (t) => {
  await using spire = await startSpire({ trustDomain: 'one.test' });
  const first = await spire.program('first');
  const second = await spire.program('second');
  await spire.createEntry({ spiffeId: '/first', selectors: [first.selector] });
  await spire.createEntry({ spiffeId: '/second', selectors: [second.selector] });
  await spire.createEntry({ spiffeId: '/cli', selectors: [`unix:path:${spire.agentProgram}`] });
  await spire.waitForSync();
  t.strictSame(await fetchedIds(spire), ['spiffe://one.test/cli']);
  t.strictSame(await workloadIds(first.path, spire), ['spiffe://one.test/first']);
  t.strictSame(await workloadIds(second.path, spire), ['spiffe://one.test/second']);
  t.strictSame(
    await workloadIds(process.execPath, spire),
    [],
    'the Node that runs the tests has no entry',
  );
});

/**
 * The IDs that a Node child, started as the program of that path, gets from the Workload API over
 * bare HTTP/2.
 */
async function workloadIds(program: string, spire: Spire): Promise<readonly string[]> {
  const script = `
    const { connect } = require('node:http2'), { createConnection } = require('node:net');
    const session = connect('http://localhost', { createConnection: () => createConnection(process.argv[1]) });
    const headers = { ':method': 'POST', ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
      'content-type': 'application/grpc', te: 'trailers', 'workload.spiffe.io': 'true' };
    const stream = session.request(headers);
    const end = (ids) => { console.log(JSON.stringify([...new Set(ids)])); session.destroy(); };
    stream.on('response', (head) => head['grpc-status'] !== undefined && end([]));
    stream.on('data', (data) => end(data.toString('latin1').match(/spiffe:\\/\\/[a-z.]+\\/[a-z]+/g)));
    stream.end(Buffer.alloc(5));`;
  const { stdout } = await run(program, ['-e', script, spire.agentSocket]);
  return JSON.parse(stdout) as readonly string[];
}

t.test(
  'an agent that was killed comes back with its entries; a server that was stopped keeps its authority',
  async (t) => {
    await using spire = await startSpire({ trustDomain: 'one.test' });
    await spire.createEntry({ spiffeId: '/kept' });
    await spire.waitForSync();
    const before = { bundle: await spire.bundle(), pid: await spire.pid('agent') };

    await spire.stopAgent('SIGKILL');
    t.ok(await gone(before.pid));
    await t.rejects(fetchedIds(spire), /connect: connection refused|no such file or directory/);
    await t.rejects(spire.pid('agent'), { code: 'ENOENT' });
    await spire.startAgent();
    await spire.waitForSync();
    t.strictSame(await fetchedIds(spire), ['spiffe://one.test/kept']);

    await spire.stopServer();
    t.strictSame(
      await fetchedIds(spire),
      ['spiffe://one.test/kept'],
      'the agent serves what it has',
    );
    await spire.stopAgent();
    await t.rejects(spire.startAgent(), /the server of .* does not run/);
    await spire.startServer();
    t.equal(await spire.bundle(), before.bundle);
    await spire.startAgent();
    await spire.waitForSync();
    t.strictSame(await fetchedIds(spire), ['spiffe://one.test/kept']);
  },
);

t.test(
  'two trust domains side by side; the bundle endpoint of one is read by the other',
  async (t) => {
    await using one = await startSpire({ trustDomain: 'one.test' });
    await using two = await startSpire({ trustDomain: 'two.test' });
    await one.federateWith(two);
    await one.createEntry({ spiffeId: '/w', federatesWith: ['two.test'] });
    await two.createEntry({ spiffeId: '/w' });
    await Promise.all([one.waitForSync(), two.waitForSync()]);
    const seen = await one.agent(['api', 'fetch', 'x509']);
    t.match(seen.stdout, /SPIFFE ID:\s+spiffe:\/\/one\.test\/w/);
    t.match(seen.stdout, /\[spiffe:\/\/two\.test\] CA #1/);
    t.notMatch((await two.agent(['api', 'fetch', 'x509'])).stdout, /one\.test/);
    await t.rejects(
      two.createEntry({ spiffeId: '/x', federatesWith: ['one.test'] }),
      /refused the entry.*one\.test/,
    );
  },
);

t.test('disposing leaves no process and no folder', async (t) => {
  const spire = await startSpire({ trustDomain: 'one.test' });
  const pids = await Promise.all([spire.pid('server'), spire.pid('agent')]);
  await spire[Symbol.asyncDispose]();
  for (const pid of pids) t.ok(await gone(pid));
  await t.rejects(stat(spire.dir), { code: 'ENOENT' });
  await spire[Symbol.asyncDispose]();
});

t.test('a test process that is killed takes its SPIRE with it', async (t) => {
  const script = `
    import { startSpire } from ${JSON.stringify(join(import.meta.dirname, 'spire.ts'))};
    const spire = await startSpire({ trustDomain: 'one.test' });
    console.log(JSON.stringify([spire.dir, await spire.pid('server'), await spire.pid('agent')]));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface(child.stdout), 'line');
  const [dir, server, agent] = JSON.parse(String(line)) as [string, number, number];
  t.notOk((await gone(server)) || (await gone(agent)));
  child.kill('SIGKILL');
  await until('both have ended', async () => (await gone(server)) && (await gone(agent)), 30_000);
  await until('the folder is gone', () => !existsSync(dir), 5000);
});

t.test('a start that cannot succeed says why and leaves nothing', async (t) => {
  const parent = await mkdtemp(join(tmpdir(), 'spire-'));
  t.teardown(() => rm(parent, { recursive: true }));
  const dir = join(parent, 'd');
  const needsDomain = /SPIRE_DEV_TRUST_DOMAIN is "Not.A.Domain": a trust domain has only/;
  await t.rejects(startSpire({ trustDomain: 'Not.A.Domain', dir }), needsDomain);
  t.strictSame(await readdir(dir), []);
  const long = join(parent, 'x'.repeat(90));
  await t.rejects(
    startSpire({ trustDomain: 'one.test', dir: long }),
    /too long for the path of a Unix socket/,
  );
  t.strictSame(await readdir(long), []);
});
