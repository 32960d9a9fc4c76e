import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecarProcess, type SidecarProcess } from '../support/sidecar-process.ts';

t.setTimeout(300_000);

/**
 * A drain that no test waits for: what ends before it is over ended by itself, or by a second
 * signal.
 */
const LONG = '  drain: 10m\n';
const SHORT = '  drain: 2s\n';
const PATIENCE = 60_000;

/** How it ended. */
function ended(s: SidecarProcess): Promise<readonly [number | null, NodeJS.Signals | null]> {
  const { child } = s.sidecar;
  return until(
    'it has ended',
    () => {
      if (child.exitCode === null && child.signalCode === null) return undefined;
      return [child.exitCode, child.signalCode] as const;
    },
    PATIENCE,
  );
}

async function stall(s: SidecarProcess): Promise<void> {
  s.sidecar.child.stdout?.pause();
  await until(
    'evidence is not taken any more',
    async () => (await s.get('/v1/customers')) === 503,
    PATIENCE,
  );
}

t.test(
  'a reader of the evidence that reads no more: requests are refused, and it ends with 0',
  async (t) => {
    await using s = await testSidecarProcess({
      sinks: '[{ stdout: true }], timeout: 500ms',
      more: LONG,
    });
    t.equal(await s.get('/v1/customers'), 200);
    await stall(s);
    t.equal(await s.get('/v1/customers'), 503);
    const line = await s.open();
    line.write(
      'GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\nConnection: ' +
        'close\r\n\r\n',
    );
    t.match(await line.ended(), /took no records for 0\.5 s[^]*audit-unavailable/);
    s.sidecar.child.kill('SIGTERM');
    t.same(await ended(s), [0, null]);
  },
);

t.test('a reader that reads again is given records again, and no incomplete record', async (t) => {
  await using s = await testSidecarProcess({
    sinks: '[{ stdout: true }], timeout: 500ms',
    more: LONG,
  });
  await stall(s);
  s.sidecar.child.stdout?.resume();
  await until('it serves again', async () => (await s.get('/v1/customers')) === 200, PATIENCE);
  s.sidecar.child.kill('SIGTERM');
  const { out } = await s.sidecar.ended;
  t.doesNotThrow(() =>
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  );
});

t.test(
  'with audit.onFailure: continue, requests go on while nobody reads the evidence',
  async (t) => {
    const sinks = '[{ stdout: true }], timeout: 500ms, onFailure: continue';
    await using s = await testSidecarProcess({ sinks, more: LONG });
    s.sidecar.child.stdout?.pause();
    for (let n = 0; n < 400; n += 1)
      if ((await s.get('/v1/customers')) !== 200) t.fail(`request ${n}`);
    const metrics = await (await fetch(`http://127.0.0.1:${s.health}/metrics`)).text();
    t.match(metrics, /chaperone_audit_failures_total [1-9]/);
  },
);

t.test('a log that nobody reads holds nothing up', async (t) => {
  await using s = await testSidecarProcess({ more: `${LONG}  log: { level: debug }\n` });
  s.sidecar.child.stderr?.pause();
  const { pid } = s.sidecar.child;
  // Each reload is told; SIGHUPs that come while one is under way are one.
  for (let n = 0; n < 300; n += 1) {
    s.write(n % 2 === 0 ? 'apiVersion: none\n'.repeat(200) : s.documents);
    process.kill(pid ?? 0, 'SIGHUP');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  s.write(s.documents);
  await until('it serves', async () => (await s.get('/v1/customers')) === 200, PATIENCE);
  s.sidecar.child.kill('SIGTERM');
  t.same(await ended(s), [0, null]);
});

t.test('a second signal ends it with 75, however long the drain is', async (t) => {
  await using s = await testSidecarProcess({
    sinks: '[{ stdout: true }], timeout: 1h',
    more: LONG,
  });
  const line = await s.tunnel();
  s.sidecar.child.stdout?.pause();
  s.sidecar.child.kill('SIGTERM');
  await until(
    'it drains',
    async () => (await fetch(`http://127.0.0.1:${s.health}/readyz`)).status === 503,
    PATIENCE,
  );
  s.sidecar.child.kill('SIGTERM');
  t.same(await ended(s), [75, null]);
  line.socket.destroy();
});

t.test(
  'a thread that is held, by a file that does not answer, is not waited for past the drain',
  async (t) => {
    const hold = join(t.testdir({}), 'hold.mjs');
    execFileSync('mkfifo', [`${hold}.pipe`]);
    writeFileSync(
      hold,
      `import { open } from 'node:fs/promises';
    process.on('SIGHUP', () => void open('${hold}.pipe', 'r'));`,
    );
    await using s = await testSidecarProcess({
      more: SHORT,
      under: ['env', `NODE_OPTIONS=--import=file://${hold}`],
    });
    s.sidecar.child.kill('SIGHUP');
    await new Promise((resolve) => setTimeout(resolve, 500));
    s.sidecar.child.kill('SIGTERM');
    t.same(await ended(s), [null, 'SIGKILL']);
  },
);
