/**
 * docs/limits.md is held to the code (invariant 11): each value is the one of the code, each test
 * that it names is there, and no limit of lib is missing. Whoever adds a number to the code that
 * bounds something adds a row; a number that bounds nothing goes to NOT_LIMITS with what it is.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { destinationDocument, sidecarDocument } from '../lib/config/documents/schema.ts';
import type { FieldShape, Shape } from '../lib/schema/shape.ts';
import { parseDuration } from '../lib/config/documents/scalars.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

interface Row {
  readonly where: string;
  readonly name: string;
  readonly value: string;
  readonly file: string;
  readonly test: string;
}

const ROWS: readonly Row[] = [
  ...read('docs/limits.md').matchAll(
    /^\| `([^`]+)` +\| `([^`]+)` +\| (.*?) +\| .*? +\| `([^`]+)`: (.*?) +\|$/gm,
  ),
].map(([, where = '', name = '', value = '', file = '', test = '']) => ({
  where,
  name,
  value,
  file,
  test,
}));

/**
 * Numbers that are named like limits and are none, and bounds that nothing outside can reach or
 * see.
 */
const NOT_LIMITS: Readonly<Record<string, readonly string[]>> = {
  'what the engine or a format holds': [
    'lib/base/clock.ts LONGEST',
    'lib/listen/inherited.ts MOST',
    'lib/spiffe/der.ts MAX_LENGTH_BYTES',
    'lib/tls/path.ts MAX_RECORD',
    'lib/http2/frames.ts HEAD_BYTES',
    'lib/http2/sent-frames.ts GOAWAY_BYTES',
    'lib/forward/websocket-frames.ts MAX_CONTROL MAX_REASON',
    'lib/listen/task-sockets.ts LONGEST',
  ],
  'memories of what servers said, of which the oldest goes first': [
    'lib/mcp/reply.ts MAX_TOKENS',
    'lib/forward/mcp-events.ts MAX_EVENTS',
  ],
  'how text is shown, not what is taken': [
    'lib/forward/mcp-dialogue.ts MAX_NAME',
    'lib/forward/mcp-dialogue.ts MAX_NAME',
    'lib/forward/mcp-endpoint.ts MAX_NOTICES',
    'lib/policy/model/shown.ts MAX_SHOWN',
    'lib/policy/protocols/by-rules.ts MAX_ERROR',
    'lib/exchange/fault-response.ts MAX_PHRASE',
  ],
  'how often or how much at a time, without a bound on anybody': [
    'lib/audit/sinks/writer.ts RETRY_MS MAX_RETRY_MS',
    'lib/config/load/watch.ts BURST_MS',
    'lib/base/read-file.ts AGAIN_MS',
    'lib/http1/writer.ts JOIN_BYTES BULK_BYTES BURST_BYTES',
    'lib/http/limits.ts poolAgeJitter',
    'lib/identity/limits.ts baseMs timeMs timeoutMs share again',
    'lib/identity/follow.ts LOOK_MS',
    'lib/identity/watch.ts LOOK_MS',
  ],
  'guards that nothing reaches: work in memory that ends by itself': [
    'lib/identity/limits.ts chainMs',
  ],
  'sizes of memories that cannot be seen from outside': [
    'lib/upstream/pools.ts MAX_KEYS POOL_CONNECTIONS',
    'lib/http2/frames.ts MAX_LATE',
  ],
  'covered by the row beside it': [
    'lib/api/pages.ts headersTimeout keepAliveTimeout connectionsCheckingInterval',
  ],
  'how many pairs a warning names': ['lib/config/checks/confusables.ts MAX_ALIKE'],
  'what numbers are, in conditions': [
    'lib/policy/conditions/cel-conversions.ts MAX_INT MAX_DIGITS',
    'lib/policy/conditions/plain.ts LONGEST',
  ],
  'how it is learned whether a server keeps its connections': [
    'lib/http1/reuse.ts SOON_MS MARKED_MS MAX_MARKED_MS PROOF_MS MARGIN_MS',
  ],
  'what flow control of HTTP/2 lets ahead in all': [
    'lib/http2/limits.ts connectionWindowBytes sessionBytes',
  ],
};

const EXEMPT = new Set(
  Object.values(NOT_LIMITS)
    .flat()
    .flatMap((line) => {
      const [file = '', ...names] = line.split(' ');
      return names.map((name) => `${file} ${name}`);
    }),
);

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

function numberOf(value: string): number {
  const [, digits = '', unit] = /^(\d+)(?: (\w+))?$/.exec(value) ?? [];
  return Number(digits) * (unit === undefined ? 1 : (UNITS[unit] ?? Number.NaN));
}

/** A number as code writes it: `24 * 3_600_000`, `1 << 20`. */
function evaluated(text: string): number {
  const [left = '', right] = text.split('<<');
  const product = left
    .split('*')
    .map((factor) => Number(factor.replaceAll('_', '').trim()))
    .reduce((a, b) => a * b, 1);
  return right === undefined ? product : product << Number(right);
}

const NUMBER = String.raw`((?:\d[\d_]*)(?:\s*(?:\*|<<)\s*\d[\d_]*)*)`;

/** What the code says. A dotted name is looked for behind its first part. */
function inCode({ where, name }: Row): number {
  const text = read(where);
  const parts = name.split('.');
  const start = parts.length === 1 ? 0 : text.indexOf(parts[0] ?? '');
  const last = parts.at(-1) ?? '';
  const behind = text.slice(Math.max(start, 0));
  const found = new RegExp(
    String.raw`\b${last}(?: = |: )(?:bytes\(|ms\(|count\()?\s*${NUMBER}`,
  ).exec(behind);
  return start < 0 || found === null ? Number.NaN : evaluated(found[1] ?? '');
}

function field(shape: Shape, [step = '', ...rest]: readonly string[]): FieldShape | undefined {
  if (shape.kind !== 'record') return undefined;
  const found = shape.fields[step];
  return found === undefined || rest.length === 0 ? found : field(found.shape, rest);
}

function inSchema({ where, name }: Row): string {
  const document = where === 'Sidecar' ? sidecarDocument : destinationDocument;
  const found = field(document.shape, name.split('.'));
  if (found === undefined) return 'not there';
  const { initial } = found;
  if (initial === undefined) return 'none';
  if (typeof initial !== 'string') return JSON.stringify(initial);
  return /^\d+(ms|s|m|h)$/.test(initial)
    ? `${parseDuration(initial)} ms`
    : initial.replace(/([A-Z])/, ' $1');
}

t.test('every value is the one of the code or of the schema', async (t) => {
  t.ok(ROWS.length > 60, `${ROWS.length} rows`);
  for (const row of ROWS) {
    if (row.where.startsWith('lib/'))
      t.equal(numberOf(row.value), inCode(row), `${row.where} ${row.name}`);
    else if (row.value === 'none') t.equal(inSchema(row), 'none', row.name);
    else t.equal(numberOf(row.value), numberOf(inSchema(row)), row.name);
  }
});

t.test('every test that is named is there', async (t) => {
  for (const { file, test, name } of ROWS) {
    const quoted = test.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
    t.match(
      read(file),
      new RegExp(String.raw`t\.test\(\s*'${quoted}'`),
      `${name}: ${file}: ${test}`,
    );
  }
});

/** What sets each limit: by `file name`, by file, or by folder; the closest says it. */
const SETTERS: ReadonlyMap<string, string> = new Map(
  [...read('docs/limits.md').matchAll(/^- `(lib\/[^`]+)`: (.*(?:\n {2}.*)*)$/gm)].map(
    ([, what = '', how = '']) => [what, how.replaceAll(/\s+/g, ' ')],
  ),
);

function setterOf({ where, name }: Row): string | undefined {
  const folder = where.slice(0, where.indexOf('/', 4) + 1);
  return SETTERS.get(`${where} ${name}`) ?? SETTERS.get(where) ?? SETTERS.get(folder);
}

t.test('every limit has a key that is there, or it is said why it has none', async (t) => {
  t.ok(SETTERS.size > 30, `${SETTERS.size} lines`);
  for (const row of ROWS) {
    if (row.where.startsWith('lib/'))
      t.ok(
        setterOf(row),
        `${row.where} ${row.name}: a line under "What sets them" of docs/limits.md`,
      );
  }
  const shapes = [sidecarDocument.shape, destinationDocument.shape];
  for (const [what, how] of SETTERS) {
    const keys = [...how.matchAll(/`((?:listeners|timeouts|limits|audit|mcp)\.[a-zA-Z]+)`/g)].map(
      ([, key = '']) => key,
    );
    t.ok(how.startsWith('none: ') || keys.length > 0, `${what}: a key, or "none: " and why`);
    for (const key of keys)
      t.ok(
        shapes.some((shape) => field(shape, ['spec', ...key.split('.')]) !== undefined),
        `${what}: ${key} is a key`,
      );
  }
});

const LIMIT_LIKE = /MOST|LONGEST|LARGEST|MAX|LIMIT|TIMEOUT|BYTES|CONNECTIONS|KEPT|_MS$/;
const TEXTS = /\/\*[\s\S]*?\*\/|'[^'\n]*'/g;

/**
 * `file NAME` of every number that is named like a limit, and of every number in a table of limits.
 */
function numbersOf(file: string): readonly string[] {
  const text = read(file).replace(TEXTS, '');
  const constants = [...text.matchAll(/^(?:export )?const ([A-Z][A-Z0-9_]*) = [-\d(]/gm)]
    .map(([, name = '']) => name)
    .filter((name) => LIMIT_LIKE.test(name));
  const tables = [
    ...text.matchAll(
      /\b(?:[A-Z\d_]*LIMITS|TABLE) = (?:Object\.freeze\()?\{([\s\S]*?)\n?\}(?:\);|;| as const)/g,
    ),
  ];
  const members = tables.flatMap(([, body = '']) =>
    [...body.matchAll(/\b([a-zA-Z]+): (?:bytes\(|ms\(|count\(|\{)?\s*(?:default: )?\d/g)].map(
      ([, name = '']) => name,
    ),
  );
  return [...constants, ...members].map((name) => `${file} ${name}`);
}

const LIB = readdirSync(join(ROOT, 'lib'), { recursive: true })
  .map((name) => `lib/${String(name)}`)
  .filter((file) => file.endsWith('.ts') && !/^lib\/(dev|identity\/gen)\//.test(file));

t.test('no number of lib that bounds something is missing', async (t) => {
  const known = new Set(ROWS.map(({ where, name }) => `${where} ${name.split('.').at(-1)}`));
  for (const one of LIB.flatMap(numbersOf)) {
    const [file = ''] = one.split(' ');
    t.ok(
      known.has(one) || EXEMPT.has(one) || EXEMPT.has(file),
      `${one}: a row of docs/limits.md, or of NOT_LIMITS here`,
    );
  }
});

t.test('what is called no limit is there', async (t) => {
  const there = new Set(LIB.flatMap(numbersOf));
  for (const one of EXEMPT) t.ok(there.has(one), one);
});
