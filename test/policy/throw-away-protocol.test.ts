/**
 * A protocol is a row: one is added to a copy of the tree by files of its own and a line in each
 * table; the copy compiles, loads a document of it and serves an exchange. What must change besides
 * its own files is counted.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { ROOT, scratch } from '../sabotage/scratch.ts';
import { SOAP_DOCUMENT } from './soap/document.ts';
import { SOAP } from './soap/row.ts';

/** Without what the test runner puts into every Node, which the compiler does not bear. */
const node = (...words: readonly string[]): Promise<{ readonly stdout: string }> =>
  promisify(execFile)('env', ['-u', 'NODE_OPTIONS', process.execPath, ...words]);

/** Files of its own, and where they belong. */
const OWN: readonly (readonly [string, string])[] = [
  ['row.ts', 'lib/policy/protocols/soap.ts'],
  ['document.ts', 'lib/config/documents/soap.ts'],
];

const DESCRIBED = 'lib/forward/describe.ts';

/** Lines of the tables: file, the text they come behind, and what is added. */
const TABLES: readonly (readonly [string, string, string])[] = [
  [
    'lib/policy/protocols/index.ts',
    "import type { ProtocolRow } from './row.ts';\n",
    "import { SOAP, type SoapService } from './soap.ts';\n",
  ],
  ['lib/policy/protocols/index.ts', 'export type Service =', ' SoapService |'],
  ['lib/policy/protocols/index.ts', 'http: HTTP,', ' soap: SOAP,'],
  [
    'lib/config/documents/protocols.ts',
    "import { TCP_DOCUMENT } from './tcp.ts';\n",
    "import { SOAP_DOCUMENT, soapMatch } from './soap.ts';\n",
  ],
  [
    'lib/config/documents/protocols.ts',
    'export const RULE_KEYS = {\n',
    "  soap: optional(soapMatch, 'Which calls the rule is about.'),\n",
  ],
  ['lib/config/documents/protocols.ts', 'http: HTTP_DOCUMENT,', ' soap: SOAP_DOCUMENT,'],
  ...(existsSync(join(ROOT, DESCRIBED))
    ? ([[DESCRIBED, 'http: describeHttp,', ' soap: describeHttp,']] as const)
    : []),
];

/** `text` as it reads in another folder of the tree. */
function movedTo(place: string, text: string): string {
  const up = relative(join(place, '..'), 'lib');
  return text
    .replaceAll("'../../../lib/", `'${up}/`)
    .replaceAll("'./row.ts'", "'../../policy/protocols/soap.ts'");
}

t.test('a protocol is added by files of its own and a line in each table', async (t) => {
  t.equal(SOAP.name, SOAP_DOCUMENT.keys[0]);
  using copy = scratch();
  const at = (path: string): string => join(copy.folder, path);
  for (const [name, place] of OWN)
    writeFileSync(
      at(place),
      movedTo(place, readFileSync(join(import.meta.dirname, 'soap', name), 'utf8')),
    );
  for (const [file, before, added] of TABLES) {
    const text = readFileSync(at(file), 'utf8');
    t.equal(text.split(before).length, 2, `${file}: ${before} stands once`);
    writeFileSync(
      at(file),
      text.replace(before, () => before + added),
    );
  }
  const changed = new Set(TABLES.map(([file]) => file));
  t.ok(changed.size <= 3, `${[...changed].join(', ')} change`);
  const options = { extends: './tsconfig.json', include: ['lib', 'cmd', 'test/policy/soap'] };
  writeFileSync(at('tsconfig.soap.json'), JSON.stringify(options));
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const compiled = await node(tsc, '-p', at('tsconfig.soap.json')).then(
    () => 'compiles',
    ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout + stderr,
  );
  t.equal(compiled, 'compiles');
  const { stdout } = await node(at('test/policy/soap/probe.ts'));
  t.match(JSON.parse(stdout), {
    statuses: [200, 403],
    refused: /no rule of destination bank allows SOAP action Transfer/,
  });
});
