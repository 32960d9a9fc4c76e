/** The evidence log over real files: group commit, order, rotation, full disks. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';
import { auditLog, openAudit, type Audit } from '../../lib/audit/log.ts';
import type { AuditRecord } from '../../lib/audit/record.ts';
import type { Sink } from '../../lib/audit/sinks/sink.ts';
import { systemClock, type Clock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { until } from '../support/until.ts';

const LIMITS = { clock: systemClock, timeout: 5000 };

const record = (reason: string): AuditRecord => ({
  time: '2026-01-02T03:04:05.678Z',
  kind: 'refused',
  exchange: 'e',
  entry: 'forward',
  code: 'malformed',
  reason,
});

const reasons = (text: string): string[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line).reason);

/** A clock whose monotonic hand is moved by the test. */
function handClock(): Clock & { advance(ms: number): void } {
  let ahead = 0;
  return {
    ...systemClock,
    monotonic: () => performance.now() + ahead,
    advance: (ms) => void (ahead += ms),
  };
}

/** A sink that keeps what it is given and waits until it is let go. */
function heldSink(): Sink & { readonly writes: string[]; go(failure?: Fault): void } {
  const writes: string[] = [];
  let waiting: PromiseWithResolvers<void> | undefined;
  return {
    truncatedBytes: 0,
    incompleteBytes: 0,
    writes,
    append(lines) {
      if (waiting !== undefined) throw new TypeError('two writes under way');
      writes.push(lines.toString());
      waiting = Promise.withResolvers();
      return waiting.promise;
    },
    go(failure) {
      const now = waiting;
      waiting = undefined;
      if (failure === undefined) now?.resolve();
      else now?.reject(failure);
    },
    reopen: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

t.test(
  'records of one turn are one write, those that come meanwhile are the next, in order',
  async (t) => {
    const sink = heldSink();
    const log = auditLog([sink], LIMITS);
    const first = [log.write(record('1')), log.write(record('2'))];
    await turn();
    await turn();
    t.equal(sink.writes.length, 1);
    let settled = false;
    void first[0]?.then(() => (settled = true));
    const second = [log.write(record('3'))];
    await turn();
    second.push(log.write(record('4')));
    await turn();
    t.equal(sink.writes.length, 1, 'one write under way at a time');
    t.notOk(settled, 'a record is not settled before its write is');
    sink.go();
    await Promise.all(first);
    await turn();
    t.equal(sink.writes.length, 2);
    sink.go();
    await Promise.all(second);
    t.same(reasons(sink.writes.join('')), ['1', '2', '3', '4']);
    t.equal(log.written(), 4);
    await log[Symbol.asyncDispose]();
  },
);

t.test(
  'a record fails when one of several sinks fails, and the next batch is tried again (R5)',
  async (t) => {
    const [good, bad] = [heldSink(), heldSink()];
    const log = auditLog([good, bad], LIMITS);
    const lost = [log.write(record('1')), log.write(record('2'))];
    await turn();
    await turn();
    good.go();
    bad.go(new Fault('audit-unavailable', 'full'));
    for (const each of lost) await t.rejects(each, { code: 'audit-unavailable', message: 'full' });
    t.equal(log.failures(), 2);
    const next = log.write(record('3'));
    await turn();
    await turn();
    good.go();
    bad.go();
    await next;
    t.same(reasons(bad.writes.at(-1) ?? ''), ['3']);
    await log[Symbol.asyncDispose]();
    await t.rejects(
      log.write(record('4')),
      { code: 'audit-unavailable' },
      'a closed log takes nothing',
    );
  },
);

t.test(
  'several files all have every record; they are made with mode 0600 and closing loses nothing',
  async (t) => {
    const folder = t.testdir();
    const files = [join(folder, 'a.jsonl'), join(folder, 'b.jsonl')];
    const log = await openAudit({
      sinks: files.map((file) => ({ kind: 'file', value: file })),
      ...LIMITS,
    });
    const writes = Array.from({ length: 100 }, (_, n) => log.write(record(String(n))));
    await log[Symbol.asyncDispose]();
    await Promise.all(writes);
    for (const file of files) {
      t.same(
        reasons(readFileSync(file, 'utf8')),
        Array.from({ length: 100 }, (_, n) => String(n)),
      );
      t.equal(statSync(file).mode & 0o777, 0o600);
    }
  },
);

t.test(
  'a path that cannot be opened is a Fault at start, with the path and the reason',
  async (t) => {
    const file = join(t.testdir(), 'absent', 'audit.jsonl');
    await t.rejects(openAudit({ sinks: [{ kind: 'file', value: file }], ...LIMITS }), {
      code: 'audit-unavailable',
      message: new RegExp(`${file}.*ENOENT`),
    });
  },
);

t.test(
  'a file that was renamed or removed is followed within a second, and at once by reopen()',
  async (t) => {
    const file = join(t.testdir(), 'audit.jsonl');
    const clock = handClock();
    const log = await openAudit({ sinks: [{ kind: 'file', value: file }], clock, timeout: 5000 });
    await log.write(record('1'));
    renameSync(file, `${file}.1`);
    await log.write(record('2'));
    t.same(
      reasons(readFileSync(`${file}.1`, 'utf8')),
      ['1', '2'],
      'not looked at again within the second',
    );
    clock.advance(1001);
    await log.write(record('3'));
    t.same(reasons(readFileSync(file, 'utf8')), ['3']);
    rmSync(file);
    clock.advance(1001);
    await log.write(record('4'));
    t.same(reasons(readFileSync(file, 'utf8')), ['4']);
    renameSync(file, `${file}.2`);
    const before = log.write(record('5'));
    const reopened = log.reopen();
    await Promise.all([before, reopened]);
    await log.write(record('6'));
    t.same(
      [...reasons(readFileSync(`${file}.2`, 'utf8')), ...reasons(readFileSync(file, 'utf8'))],
      ['4', '5', '6'],
    );
    writeFileSync(file, '');
    await log.write(record('7'));
    t.same(reasons(readFileSync(file, 'utf8')), ['7'], 'a file cut by its rotation leaves no hole');
    await log[Symbol.asyncDispose]();
  },
);

t.test(
  'an incomplete record that a killed process left is cut off at start and counted, so that every line parses',
  async (t) => {
    const whole = '{"time":"2026-01-01T00:00:00.000Z"}\n';
    for (const half of ['{', '{"time":"2026-', `{"time":"${'x'.repeat(70_000)}`]) {
      for (const before of ['', whole, whole.repeat(5000)]) {
        const file = join(t.testdir({ 'audit.jsonl': before + half }), 'audit.jsonl');
        const log = await openAudit({ sinks: [{ kind: 'file', value: file }], ...LIMITS });
        t.equal(log.truncatedBytes, half.length);
        await log.write(record('1'));
        await log[Symbol.asyncDispose]();
        const text = readFileSync(file, 'utf8');
        t.ok(text.startsWith(before) && /^\{"time".*\}\n$/.test(text.slice(before.length)));
      }
    }
  },
);

t.test(
  'NUL bytes that a machine left which went down are cut off, with the incomplete record before them',
  async (t) => {
    const whole = '{"time":"2026-01-01T00:00:00.000Z"}\n';
    for (const half of ['', '{"time":"2026-']) {
      for (const nuls of [1, 4096, 3_000_000]) {
        for (const before of ['', whole]) {
          const end = half + '\0'.repeat(nuls);
          const file = join(t.testdir({ 'audit.jsonl': before + end }), 'audit.jsonl');
          const log = await openAudit({ sinks: [{ kind: 'file', value: file }], ...LIMITS });
          t.equal(log.truncatedBytes, end.length);
          await log.write(record('1'));
          await log[Symbol.asyncDispose]();
          const text = readFileSync(file, 'utf8');
          t.ok(text.startsWith(before) && /^\{"time".*\}\n$/.test(text.slice(before.length)));
        }
      }
    }
  },
);

t.test(
  'an incomplete record in a file that may only be appended to stays and is reported',
  { skip: lacking(true) },
  async (t) => {
    const disk = tinyDisk();
    t.teardown(() => disk.unmount());
    const file = join(disk.folder, 'audit.jsonl');
    writeFileSync(file, '{"time":"2026-');
    execFileSync('chattr', ['+a', file]);
    t.teardown(() => execFileSync('chattr', ['-a', file]));
    const log = await openAudit({ sinks: [{ kind: 'file', value: file }], ...LIMITS });
    t.match({ cut: log.truncatedBytes, left: log.incompleteBytes }, { cut: 0, left: 14 });
    await log.write(record('1'));
    await log[Symbol.asyncDispose]();
    t.match(readFileSync(file, 'utf8'), /^\{"time":"2026-\n\{"time".*\}\n$/);
  },
);

t.test(
  'a sink that takes nothing fails its records in time, and those after at once, until it takes again',
  async (t) => {
    const sink = heldSink();
    const log = auditLog([sink], { clock: systemClock, timeout: 200 });
    const began = performance.now();
    const told = { code: 'audit-unavailable', message: /took no records for 0\.2 s/, hint: /\w/ };
    await t.rejects(log.write(record('1')), told);
    t.ok(performance.now() - began >= 190);
    for (const reason of ['2', '3']) await t.rejects(log.write(record(reason)), told);
    t.equal(sink.writes.length, 1, 'one write under way, and no other begun');
    t.equal(log.failures(), 3);
    sink.go();
    await turn();
    const next = log.write(record('4'));
    await turn();
    await turn();
    sink.go();
    await next;
    t.same(reasons(sink.writes.at(-1) ?? ''), ['4']);
    await log[Symbol.asyncDispose]();
  },
);

t.test(
  'a FIFO that nobody reads fails in time, holds no thread, and loses no incomplete record when it is read',
  async (t) => {
    const file = join(t.testdir(), 'fifo');
    execFileSync('mkfifo', [file]);
    const log = await openAudit({
      sinks: [{ kind: 'file', value: file }],
      clock: systemClock,
      timeout: 300,
    });
    let taken = 0;
    const long = 'x'.repeat(10_000);
    const full = async (): Promise<unknown> => {
      for (;;) {
        try {
          await log.write(record(long));
          taken += 1;
        } catch (failure) {
          return failure;
        }
      }
    };
    t.match(await full(), { code: 'audit-unavailable' });
    t.ok(taken >= 2);
    t.notOk(
      process.getActiveResourcesInfo().some((one) => one.startsWith('FSReq')),
      'no thread waits',
    );
    const reader = spawn('cat', [file], { stdio: ['ignore', 'pipe', 'ignore'] });
    t.teardown(() => reader.kill('SIGKILL'));
    let text = '';
    reader.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await until('it takes records again', () =>
      log.write(record('last')).then(
        () => true,
        () => false,
      ),
    );
    await until('all is read', () => text.includes('"last"'));
    t.equal(
      reasons(text).filter((reason) => reason.length > 100).length,
      taken + 1,
      'and the one that it was asked to take',
    );
    await log[Symbol.asyncDispose]();
  },
);

t.test(
  'an end that is no record of ours stays, and is not joined by the next record',
  async (t) => {
    for (const foreign of ['{"kind":"deci', 'notes', `${'x'.repeat(2_000_000)}`]) {
      const file = join(t.testdir({ 'audit.jsonl': foreign }), 'audit.jsonl');
      const log = await openAudit({ sinks: [{ kind: 'file', value: file }], ...LIMITS });
      t.equal(log.truncatedBytes, 0);
      await log.write(record('1'));
      await log[Symbol.asyncDispose]();
      t.match(readFileSync(file, 'utf8').slice(foreign.length), /^\n\{"time".*\}\n$/);
    }
  },
);

t.test('a device that is always full refuses with its reason', async (t) => {
  const log = await openAudit({ sinks: [{ kind: 'file', value: '/dev/full' }], ...LIMITS });
  await t.rejects(log.write(record('1')), {
    code: 'audit-unavailable',
    message: /\/dev\/full.*ENOSPC/,
    hint: /make room/,
  });
  t.equal(log.failures(), 1);
  await log[Symbol.asyncDispose]();
});

t.test(
  'a file is written within the turn, and by a thread for a while after a write that was slow',
  async (t) => {
    const file = join(t.testdir(), 'audit.jsonl');
    let step = 0;
    let now = 0;
    const clock = { ...systemClock, monotonic: () => (now += step) };
    const log = await openAudit({ sinks: [{ kind: 'file', value: file }], clock, timeout: 5000 });
    /** Whether the record was settled before anything could be heard of a thread. */
    const atOnce = async (reason: string): Promise<boolean> => {
      let done = false;
      const written = log.write(record(reason)).then(() => (done = true));
      await turn();
      const early = done;
      await written;
      return early;
    };
    t.ok(await atOnce('1'));
    step = 20;
    t.ok(await atOnce('2'), 'the write that turns out to be slow');
    step = 0;
    t.notOk(await atOnce('3'), 'so the next is not waited for');
    now += 999;
    t.notOk(await atOnce('4'));
    now += 4001;
    t.notOk(await atOnce('5'), 'the path is looked at first');
    t.ok(await atOnce('6'), 'until it is tried again');
    t.same(reasons(readFileSync(file, 'utf8')), ['1', '2', '3', '4', '5', '6']);
    await log[Symbol.asyncDispose]();
  },
);

/** A file system of 64 KiB on a folder of its own. */
function tinyDisk(): { readonly folder: string; unmount(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'chaperone-full-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'pipe' });
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  return {
    folder,
    unmount() {
      execFileSync('umount', [folder]);
      rmSync(folder, { recursive: true });
    },
  };
}

/**
 * Why there can be no small file system here, or none with append-only files; false when there can.
 */
function lacking(appendOnly: boolean): string | false {
  try {
    const disk = tinyDisk();
    try {
      if (!appendOnly) return false;
      const file = join(disk.folder, 'probe');
      writeFileSync(file, '');
      execFileSync('chattr', ['+a', file], { stdio: 'pipe' });
      execFileSync('chattr', ['-a', file], { stdio: 'pipe' });
      return false;
    } finally {
      disk.unmount();
    }
  } catch (error) {
    return (
      'not permitted here: ' +
      `${error instanceof Error ? error.message.split('\n').slice(0, 2).join(' ') : ''}`
    );
  }
}

async function writeUntilFull(log: Audit): Promise<{ taken: string[]; failure: unknown }> {
  const taken: string[] = [];
  for (let n = 0; n < 10_000; n += 1) {
    const reason = `${n} ${'x'.repeat(n % 700)}`;
    try {
      await log.write(record(reason));
    } catch (failure) {
      return { taken, failure };
    }
    taken.push(reason);
  }
  throw new Error('the disk never filled');
}

t.test(
  'a disk that fills takes whole lines only, and the log recovers when there is room again (R5)',
  { skip: lacking(false) },
  async (t) => {
    const disk = tinyDisk();
    t.teardown(() => disk.unmount());
    const file = join(disk.folder, 'audit.jsonl');
    const ballast = join(disk.folder, 'ballast');
    writeFileSync(ballast, Buffer.alloc(8192));
    const log = await openAudit({ sinks: [{ kind: 'file', value: file }], ...LIMITS });
    const { taken, failure } = await writeUntilFull(log);
    t.match(failure, { code: 'audit-unavailable', message: /ENOSPC/ });
    t.ok(taken.length > 20);
    t.same(
      reasons(readFileSync(file, 'utf8')),
      taken,
      'what was acknowledged is there and nothing else',
    );
    await t.rejects(
      log.write(record('y'.repeat(900))),
      { code: 'audit-unavailable' },
      'still full',
    );
    rmSync(ballast);
    await log.write(record('again'));
    t.same(reasons(readFileSync(file, 'utf8')), [...taken, 'again']);
    await log[Symbol.asyncDispose]();
  },
);

t.test(
  'where the end cannot be cut off again, the next record begins a line of its own',
  { skip: lacking(true) },
  async (t) => {
    const disk = tinyDisk();
    t.teardown(() => disk.unmount());
    const file = join(disk.folder, 'audit.jsonl');
    const ballast = join(disk.folder, 'ballast');
    writeFileSync(ballast, Buffer.alloc(8192));
    const log = await openAudit({ sinks: [{ kind: 'file', value: file }], ...LIMITS });
    execFileSync('chattr', ['+a', file]);
    t.teardown(() => execFileSync('chattr', ['-a', file]));
    const { taken } = await writeUntilFull(log);
    rmSync(ballast);
    await log.write(record('again'));
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    t.equal(lines.length, taken.length + 2, 'one line more than was acknowledged: the half one');
    t.throws(() => JSON.parse(lines[taken.length] ?? ''), 'which is no record');
    t.match(lines.at(-1), /"reason":"again"/);
    await log[Symbol.asyncDispose]();
  },
);

t.test(
  'standard output takes lines too, and a closed reader is a failure with its reason',
  async (t) => {
    const script = `
    import { openAudit } from ${JSON.stringify(resolve('lib/audit/log.ts'))};
    import { systemClock } from ${JSON.stringify(resolve('lib/base/clock.ts'))};
    const log = await openAudit({ sinks: [{ kind: 'stdout', value: true }], clock: systemClock, timeout: 5000 });
    const record = (reason) =>
      ({ time: 't', kind: 'refused', exchange: 'e', entry: 'forward', code: 'malformed', reason });
    await log.write(record('1'));
    await new Promise((done) => process.stdin.once('end', done).resume());
    await log.write(record('2')).then(() => process.stderr.write('taken'),
      (f) => process.stderr.write(f.code + ' ' + f.message));
    await log[Symbol.asyncDispose]();`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let problem = '';
    child.stderr.on('data', (chunk: Buffer) => (problem += chunk.toString()));
    const [line]: unknown[] = await once(child.stdout, 'data');
    t.same(reasons(String(line)), ['1']);
    child.stdout.destroy();
    await once(child.stdout, 'close');
    child.stdin.end();
    await once(child, 'close');
    t.match(problem, /^audit-unavailable cannot write evidence to standard output: .*EPIPE/);
  },
);
