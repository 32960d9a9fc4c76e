/**
 * `node .ci/tests.ts RESULTS [arguments of tap]`: runs tests, one line a file as it ends, what
 * failed as soon as it is known, and a closing line. The TAP goes to the file RESULTS. Whatever the
 * tests started and left behind is ended with them.
 */
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { constants } from 'node:os';
import { Parser, type Result } from 'tap-parser';

const [results = '', ...args] = process.argv.slice(2);
const tally = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];
let [files, planned] = [0, 0];

function count(result: Result, file: string): void {
  if (result.skip || result.todo) tally.skipped += 1;
  else if (result.ok) tally.passed += 1;
  else {
    tally.failed += 1;
    failures.push(`${file}: ${result.name}`);
  }
}

/** Names of what failed inside a test, with where and why. */
function report(parser: Parser, path: string): void {
  parser.on('assert', (result: Result) => {
    if (result.ok || result.skip || result.todo || result.tapError === 'child test left in queue')
      return;
    const { diag } = result;
    console.log(`    not ok: ${path}${result.name}`);
    const told = ['at', 'diff', 'found', 'wanted', 'signal', 'expired'].flatMap((name) => {
      const value: unknown =
        typeof diag === 'object' && diag !== null ? Reflect.get(diag, name) : undefined;
      return value === undefined
        ? []
        : [`${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`];
    });
    for (const line of told.join('\n').split('\n')) if (line !== '') console.log(`        ${line}`);
  });
  parser.on('child', (child: Parser) => report(child, `${path}${child.name} > `));
}

function onFile(file: Parser): void {
  const name = file.name;
  let failed = false;
  report(file, '');
  file.on('assert', (result: Result) => {
    count(result, name);
    failed ||= !result.ok;
  });
  file.on('complete', (end: { readonly ok: boolean; readonly time: number | null }) => {
    files += 1;
    if (!end.ok && !failed) count({ ok: false, name: 'ended badly' } as Result, name);
    const of = planned > 0 ? `${files}/${planned}` : `${files}`;
    const took = end.time === null ? '' : ` (${(end.time / 1000).toFixed(1)} s)`;
    console.log(`${end.ok ? 'ok' : 'NOT OK'} ${of} ${name}${took}`);
  });
}

const parser = new Parser();
parser.on('plan', ({ end }: { readonly end: number }) => (planned = end));
parser.on('child', onFile);

// A group of its own, so that what tests leave behind can be found.
const tap = spawn('tap', ['--reporter=tap', ...args], {
  stdio: ['ignore', 'pipe', 'inherit'],
  detached: true,
});
const file = createWriteStream(results);
tap.stdout.on('data', (chunk: Buffer) => {
  file.write(chunk);
  parser.write(chunk);
});
const endGroup = (): void => {
  try {
    if (tap.pid !== undefined) process.kill(-tap.pid, 'SIGKILL');
  } catch {
    // Nothing was left.
  }
};
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    endGroup();
    summary();
    process.exit(128 + constants.signals[signal]);
  });

tap.on('close', (status) => {
  endGroup();
  parser.end();
  file.end();
  summary();
  process.exitCode = tally.failed === 0 && status === 0 ? 0 : 1;
});

function summary(): void {
  if (failures.length > 0)
    console.log(`\nwhat failed:\n${failures.map((line) => `  ${line}`).join('\n')}`);
  if (failures.some((line) => line.includes('timeout')))
    console.log('some ran out of time: is this machine busy? (.taprc has the limit for a file)');
  const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : '';
  console.log(`${tally.passed} passed, ${tally.failed} failed${skipped}`);
}
