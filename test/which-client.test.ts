/**
 * docs/which-client.md: each client that a test runs is in its table, as one that a test runs, and
 * nothing else is.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const ROOT = join(import.meta.dirname, '..');
const PAGE = readFileSync(join(ROOT, 'docs/which-client.md'), 'utf8');

/** What a test that runs the client has in its text: in test/interop, or in test/cmd. */
const RUN: Readonly<Record<string, RegExp>> = {
  curl: /'curl',/,
  wget: /'wget',/,
  apt: /'apt(?:-get|-helper)?',/,
  'Node fetch': /name: 'Node fetch/,
  got: /import (?:\w+|\{.*\}) from 'got'/,
  'undici EnvHttpProxyAgent': /EnvHttpProxyAgent/,
  'undici ProxyAgent': /new ProxyAgent|'ProxyAgent\(/,
  ws: /from 'ws'/,
  'Python requests': /name: 'Python requests'/,
  'Python httpx': /name: 'Python httpx'/,
  'Python websockets': /websockets/,
  aiohttp: /import aiohttp/,
  gRPC: /grpcio|grpcgo/,
  'Go net/http': /name: 'Go net\/http'/,
  'Java HttpClient': /name: 'Java HttpClient'/,
  Chromium: /'chromium',/,
  Playwright: /nodes\/browse\.mjs/,
  MCP: /modelcontextprotocol|mcp-harness/,
};

const TESTS = ['test/interop', 'test/cmd']
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
      .map((name) => readFileSync(join(ROOT, folder, name), 'utf8')),
  )
  .join('\n');

const ROWS = PAGE.split('\n').filter(
  (line) => line.startsWith('| ') && !/^\| (?:client|-)/.test(line),
);
const BOLD = ROWS.flatMap((row) =>
  [...(row.split('|')[1] ?? '').matchAll(/\*\*(.+?)\*\*/g)].map(([, name]) => name),
);

t.test('each client that a test runs stands in the table in bold, and no other', async (t) => {
  for (const [name, pattern] of Object.entries(RUN))
    t.equal(BOLD.includes(name), pattern.test(TESTS), name);
  for (const name of BOLD) t.ok(name !== undefined && name in RUN, `${name} has a pattern here`);
});

t.test('each client of the lists in test/interop is known to the table by name', async (t) => {
  const names = [...TESTS.matchAll(/^ {4}name: '([^']+)',\n +needs:|\{ name: '([^']+)', needs:/gm)];
  t.ok(names.length > 10, `${names.length} clients`);
  for (const [, one, other] of names) {
    const name = one ?? other ?? '';
    t.ok(
      BOLD.some((bold) => bold !== undefined && name.startsWith(bold)),
      name,
    );
  }
});

t.test('each row says what the client needs and what a denial looks like', async (t) => {
  t.ok(ROWS.length > 20);
  for (const row of ROWS) {
    const cells = row.split('|').slice(1, -1);
    t.equal(cells.length, 3, row);
    for (const cell of cells) t.not(cell.trim(), '', row);
  }
});
