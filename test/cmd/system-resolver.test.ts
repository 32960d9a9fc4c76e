import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { systemResolver } from '../../cmd/system-resolver.ts';
import { systemClock, type Clock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { until } from '../support/until.ts';

const { signal } = new AbortController();
// As the listeners of a sidecar do: the resolver keeps no process from ending.
const alive = setInterval(() => {}, 1000);
t.teardown(() => clearInterval(alive));

t.test('names are resolved by the system, in a child', async (t) => {
  const resolver = systemResolver(systemClock);
  t.teardown(() => resolver.close?.());
  const found = await resolver.resolve('localhost', { absolute: false, signal, of: 'a' });
  t.ok(
    found.length > 0 && found.every((one) => one === '127.0.0.1' || one === '::1'),
    found.join(),
  );
  await t.rejects(resolver.resolve('no-such-host.invalid', { absolute: true, signal, of: 'a' }), {
    code: 'upstream-unresolved',
    message: /^no-such-host\.invalid cannot be resolved \(E/,
  });
  const gone = new AbortController();
  const waiting = resolver.resolve('no-such-host-2.invalid', {
    absolute: true,
    signal: gone.signal,
    of: 'a',
  });
  gone.abort(new Fault('client-gone', 'left'));
  await t.rejects(waiting, { code: 'client-gone' });
});

t.test(
  'answers that are overdue are given up, and the child is replaced when they are many',
  async (t) => {
    // Counts its starts in what it answers for the name `start`, and answers nothing else.
    const program = `
    require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const { id, name } = JSON.parse(line);
      if (name === 'start') console.log(JSON.stringify({ id, addresses: [String(process.pid)] }));
    });`;
    const late: (() => void)[] = [];
    const clock: Clock = {
      ...systemClock,
      after: (_ms, act) => {
        late.push(act);
        return () => {};
      },
    };
    const resolver = systemResolver(clock, [process.execPath, '-e', program]);
    t.teardown(() => resolver.close?.());
    const start = async (): Promise<string | undefined> =>
      (await resolver.resolve('start', { absolute: false, signal, of: 'a' }))[0];
    const first = await start();
    t.equal(await start(), first);
    late.length = 0;
    const asked = Array.from({ length: 8 }, (_, i) =>
      resolver
        .resolve(`slow${i}`, { absolute: false, signal, of: 'a' })
        .catch((failure: unknown) => failure),
    );
    await until('all are asked', () => late.length === 8);
    for (const act of late.slice(0, 7)) act();
    t.equal(await start(), first, 'not yet');
    for (const act of late.slice(7, 8)) act();
    for (const failure of await Promise.all(asked)) t.match(failure, { message: /ETIMEOUT/ });
    t.not(await start(), first, 'another child answers');
  },
);

t.test('a child that is gone is told of, and the next name starts another', async (t) => {
  const resolver = systemResolver(systemClock, [
    process.execPath,
    '-e',
    'process.stdin.once("data", () => process.exit(1))',
  ]);
  t.teardown(() => resolver.close?.());
  for (let i = 0; i < 2; i += 1)
    await t.rejects(resolver.resolve('a', { absolute: false, signal, of: 'a' }), {
      message: /ECHILD/,
    });
  const none = systemResolver(systemClock, ['/nowhere/at/all']);
  await t.rejects(none.resolve('a', { absolute: false, signal, of: 'a' }), { message: /ECHILD/ });
});

t.test('a look-up that hangs does not keep the process from ending', async (t) => {
  const program = `
    const { systemResolver } = await import('${join(import.meta.dirname, '../../cmd/system-resolver.ts')}');
    const { systemClock } = await import('${join(import.meta.dirname, '../../lib/base/clock.ts')}');
    const resolver = systemResolver(systemClock, ['sleep', '1000']);
    resolver.resolve('a', { absolute: false, signal: new AbortController().signal, of: 'a' })
      .catch((e) => console.log(e.message));
    setTimeout(() => resolver.close(), 100);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until('it ended', () => child.exitCode !== null, 60_000);
  t.match(said, /ECANCELLED|resolver is closed/);
});
