/** Results of policy tests in the XML that CI systems read (the de-facto format of JUnit). */
import type { CaseResult } from './case-result.ts';

export function junit(results: readonly CaseResult[]): string {
  const suites = Map.groupBy(results, ({ from }) => from.suite);
  const all = Array.from(suites, ([name, of]) => suite(name, of));
  return (
    '<?xml version="1.0" ' +
    `encoding="UTF-8"?>\n<testsuites${counts(results)}>\n${all.join('')}</testsuites>\n`
  );
}

function suite(name: string, results: readonly CaseResult[]): string {
  return (
    `  <testsuite name="${xml(name)}"${counts(results)}>\n${results.map(testcase).join('')}  ` +
    `</testsuite>\n`
  );
}

function counts(results: readonly CaseResult[]): string {
  return (
    ` tests="${results.length}" ` +
    `failures="${results.filter(({ failure }) => failure !== undefined).length}" errors="0"`
  );
}

function testcase({ from, failure }: CaseResult): string {
  const [, file = '', line = ''] = /^(.*):(\d+):\d+$/.exec(from.at) ?? [];
  const open =
    `    <testcase classname="${xml(from.suite)}" name="${xml(from.case.name)}" ` +
    `file="${xml(file)}" line="${line}"`;
  return failure === undefined
    ? `${open}/>\n`
    : `${open}>\n      <failure message="${xml(failure)}"/>\n    </testcase>\n`;
}

const MARKS: Readonly<Record<string, string>> = Object.freeze({
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
});

/** Text in an attribute; what XML 1.0 cannot hold is replaced. */
function xml(text: string): string {
  const held = text
    .toWellFormed()
    // eslint-disable-next-line no-control-regex
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd');
  return held.replace(/[&<>"]/g, (mark) => MARKS[mark] ?? mark).replace(/[\t\n\r]/g, ' ');
}
