import fc from 'fast-check';
import t from 'tap';
import { problems as collector } from '../../lib/schema/problem.ts';
import { canonicalJson } from '../../lib/schema/tree.ts';
import { parseYaml, YAML_LIMITS } from '../../lib/schema/yaml.ts';

function read(text: string): {
  readonly values: readonly unknown[];
  readonly problems: readonly string[];
} {
  const problems = collector();
  const trees = parseYaml('c.yaml', text, problems);
  return {
    values: trees.map((tree): unknown => JSON.parse(canonicalJson(tree))),
    problems: problems.fault()?.message.split('\n') ?? [],
  };
}

t.test('documents become trees; empty ones are nothing', async (t) => {
  t.same(read('a: 1\nb: [x, "2", true, null]\n---\n# nothing\n---\nc: { d: e }\n'), {
    values: [{ a: 1, b: ['x', '2', true, null] }, { c: { d: 'e' } }],
    problems: [],
  });
  t.same(read('').values, []);
  t.same(read('# only a comment\n').values, []);
});

t.test('each thing with two meanings is refused with place and fix', async (t) => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    [
      'duplicate key',
      'a: 1\nb: 2\na: 3\n',
      /^c\.yaml:3:1 the key a is there twice \(line 1\); keep one$/,
    ],
    [
      'merge key',
      'a: &x { b: 1 }\nc:\n  <<: *x\n',
      /^c\.yaml:3:3 merge keys \(<<\) are not used here; write the keys out$/,
    ],
    ['number as key', '80: x\n', /^c\.yaml:1:1 a key is not text/],
    ['boolean as key', 'true: x\n', /^c\.yaml:1:1 a key is not text/],
    ['list as key', '? [a]\n: b\n', /a key is not text/],
    ['nothing as key', ': b\n', /a key is not text/],
    [
      'tab as indentation',
      'a:\n\tb: 1\n',
      /^c\.yaml:2:1 Tabs are not allowed as indentation; indent with spaces$/,
    ],
    [
      'byte order mark',
      '\ufeffa: 1\n',
      /^c\.yaml:1:1 the file begins with a byte order mark; save it as UTF-8 without BOM$/,
    ],
    ['YAML 1.1', '%YAML 1.1\n---\na: 1\n', /the file has a %YAML directive; remove it/],
    ['unknown directive', '%FOO bar\n---\na: 1\n', /Unknown directive %FOO/],
    [
      'tag',
      'a: !!str 1\n',
      /^c\.yaml:1:10 the value has the tag tag:yaml\.org,2002:str; remove the tag/,
    ],
    ['unknown tag', 'a: !secret x\n', /Unresolved tag: !secret/],
    ['tag on a key', '!!str a: 1\n', /tag/],
    ['tag on a map', 'a: !!map { b: 1 }\n', /the value has the tag/],
    ['open quote', 'a: "x\n', /Missing closing "quote; close what was opened/],
    ['open bracket', 'a: [x\n', /close what was opened|sufficiently indented/],
    ['reserved character', 'a: @x\n', /reserved character @; put the value in quotes/],
    ['unknown anchor', 'a: *x\n', /there is no &x before \*x/],
    ['later anchor', 'a: *x\nb: &x 1\n', /there is no &x before \*x/],
    ['anchor of another document', 'b: &x 1\n---\na: *x\n', /there is no &x before \*x/],
    ['anchor inside itself', 'a: &x [*x]\n', /\*x is inside &x/],
  ];
  for (const [name, text, message] of cases) {
    const { problems } = read(text);
    t.match(problems[0] ?? 'no problem', message, name);
  }
});

t.test('aliases stand for what they name, up to a cap', async (t) => {
  t.same(read('a: &x { b: [1] }\nc: *x\n').values, [{ a: { b: [1] }, c: { b: [1] } }]);
  const list = (count: number): string =>
    `a: &x 1\nb: [${Array.from({ length: count }, () => '*x').join(', ')}]\n`;
  t.same(read(list(YAML_LIMITS.aliases)).problems, []);
  t.match(read(list(YAML_LIMITS.aliases + 1)).problems, [/there are more than 32 aliases/]);
});

t.test('a bomb of aliases within aliases is refused at once', async (t) => {
  const levels = Array.from(
    { length: 9 },
    (_, i) =>
      `l${i}: &l${i} ` +
      `[${i === 0 ? Array.from({ length: 40 }, () => 'x').join(', ') : `*l${i - 1}, *l${i - 1}, *l${i - 1}`}]`,
  );
  const start = performance.now();
  const { problems, values } = read(levels.join('\n'));
  t.same(values, []);
  t.match(problems.join('\n'), /aliases/);
  t.ok(performance.now() - start < 1000);
});

t.test(
  'nesting has a cap, and a nest that exhausts the parser is a problem, not a crash',
  async (t) => {
    const nest = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;
    t.same(read(`a: ${nest(YAML_LIMITS.depth)}`).problems, []);
    t.match(read(`a: ${nest(YAML_LIMITS.depth + 1)}`).problems, [/nested deeper than 32/]);
    t.not(read(`a: ${nest(20_000)}`).problems.length, 0);
  },
);

t.test('problems of all documents of a file are named', async (t) => {
  const { problems } = read('a: 1\na: 2\n---\nb: *x\n---\n80: c\n');
  t.match(problems, [/^c\.yaml:2:1 /, /^c\.yaml:4:4 /, /^c\.yaml:6:1 /]);
});

t.test('reading never throws, whatever the text', async (t) => {
  const piece = fc.constantFrom(
    'a',
    ': ',
    '\n',
    '  ',
    '- ',
    '[',
    ']',
    '{',
    '}',
    ',',
    '&x ',
    '*x',
    '<<',
    '"',
    "'",
    '|',
    '>',
    '\t',
    '---\n',
    '!!str ',
    '? ',
    '%YAML 1.1\n',
    '#',
    '\ufeff',
    '1',
    'yes',
  );
  const texts = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join('')),
  );
  let read0 = 0;
  fc.assert(
    fc.property(texts, (text) => {
      const { values, problems } = read(text);
      if (values.length > 0) read0 += 1;
      return values.length >= 0 && problems.every((line) => line.startsWith('c.yaml:'));
    }),
    { numRuns: 3000 },
  );
  t.ok(read0 > 300, `${read0} texts were read`);
});
