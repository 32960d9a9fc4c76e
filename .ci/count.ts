/**
 * Counts the tests (the sentences, not their assertions) in the TAP files named and prints one
 * closing line. A file that ended badly outside any of its tests counts as one failure. Skipped
 * suites are handed in as `name=reason`.
 */
import { createReadStream } from 'node:fs';
import { Parser, type Result } from 'tap-parser';

const tally = { passed: 0, failed: 0, skipped: 0 };

function count(result: Result): void {
  if (result.skip || result.todo) tally.skipped += 1;
  else if (result.ok) tally.passed += 1;
  else tally.failed += 1;
}

async function read(path: string): Promise<void> {
  const parser = new Parser();
  const before = tally.passed + tally.failed + tally.skipped;
  parser.on('child', (file: Parser) => {
    let failed = false;
    file.on('assert', (test: Result) => {
      count(test);
      failed ||= !test.ok;
    });
    file.on('complete', (end: { ok: boolean }) => {
      if (!end.ok && !failed) tally.failed += 1;
    });
  });
  for await (const chunk of createReadStream(path)) parser.write(chunk);
  parser.end();
  if (tally.passed + tally.failed + tally.skipped === before) {
    console.log(`${path} holds no test`);
    tally.failed += 1;
  }
}

for (const argument of process.argv.slice(2)) {
  const skip = /^skip:(.+)$/.exec(argument);
  if (skip === null) {
    await read(argument);
  } else {
    console.log(`skipped: ${skip[1]}`);
    tally.skipped += 1;
  }
}
const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : '';
console.log(`${tally.passed} passed, ${tally.failed} failed${skipped}`);
process.exitCode = tally.failed === 0 ? 0 : 1;
