/**
 * The same conditions and the same arguments, asked of @bufbuild/cel: two implementations of one
 * language must answer alike.
 */
import { type CelInput, run } from '@bufbuild/cel';
import { Fault } from '../../lib/base/fault.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { ConditionContext } from '../../lib/policy/conditions/scope.ts';
import type { Condition } from '../../lib/policy/model/condition.ts';
import type { Facts } from '../../lib/policy/model/facts.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { isObject } from '../../lib/schema/json.ts';
import { destination, request } from './destination.ts';
import fc from 'fast-check';
import t from 'tap';

const compiler = conditions([]);

type Data = null | boolean | number | string | readonly Data[] | { readonly [key: string]: Data };

function facts(args: Data): Facts {
  const value = parseJson(Buffer.from(JSON.stringify(args)));
  if (!isObject(value)) throw new TypeError('arguments are an object');
  const none = {
    prompt: undefined,
    resource: undefined,
    argsDigest: undefined,
    definition: undefined,
  };
  const mcp = {
    version: '2025-11-25',
    kind: 'request',
    method: 'tools/call',
    tool: 'x',
    args: value,
    ...none,
  } as const;
  return { ...request(), mcp };
}

function input(data: Data): CelInput {
  if (Array.isArray(data)) return (data as readonly Data[]).map(input);
  if (typeof data !== 'object' || data === null) return data as CelInput;
  return new Map(Object.entries(data).map(([key, value]) => [key, input(value)] as const));
}

function ours(condition: Condition, args: Data): string {
  const answer = condition.evaluate(
    new ConditionContext(facts(args), destination('crm'), undefined),
  );
  return typeof answer === 'boolean' ? String(answer) : 'none';
}

function theirs(text: string, args: Data): string {
  try {
    const answer = run(text, { args: input(args) });
    return typeof answer === 'boolean' ? String(answer) : 'none';
  } catch {
    return 'none';
  }
}

const key = fc.constantFrom('a', 'b', 'c');
// Not '': the other one reads it as the int 0.
const word = fc.constantFrom('x', 'xy', 'y', '/etc/passwd', 'ſ', 'é', '😀x');
const leaf = fc.oneof(
  word,
  fc.integer({ min: -2, max: 3 }),
  fc.double({ noNaN: true, min: -2, max: 3 }),
  fc.boolean(),
);
// null in lists alone: has() of a member that is null is true to the specification and to us, and
// false to the other one.
const member = fc.oneof(leaf, fc.constant(null));
const value = fc.oneof(leaf, fc.array(member, { maxLength: 3 }), fc.dictionary(key, leaf));
const anyArgs = fc.dictionary(key, value);

/** Conditions over args: what a policy would say of them, and nonsense that type-checks. */
const { condition } = fc.letrec<{ condition: string; atom: string; term: string }>((tie) => ({
  term: fc.oneof(
    key.map((name) => `args.${name}`),
    key.map((name) => `args["${name}"]`),
    fc.tuple(key, key).map(([one, two]) => `args.${one}.${two}`),
    fc.tuple(key, fc.nat(2)).map(([name, i]) => `args.${name}[${i}]`),
  ),
  atom: fc.oneof(
    fc
      .tuple(
        tie('term'),
        fc.constantFrom('==', '!=', '<', '<=', '>', '>='),
        fc.constantFrom('1', '2.5', '"x"', 'true'),
      )
      .map((parts) => parts.join(' ')),
    fc.tuple(tie('term'), fc.constantFrom('==', '!='), tie('term')).map((parts) => parts.join(' ')),
    fc
      .tuple(tie('term'), fc.constantFrom('[1, 2]', '["x", "y"]', '[]'))
      .map((parts) => parts.join(' in ')),
    fc.tuple(fc.constantFrom('"x"', '1', '"a"'), tie('term')).map((parts) => parts.join(' in ')),
    // Not has(args.a.b): what is there when args.a is no map is an error to the specification and
    // to us, and false to the other one.
    key.map((name) => `has(args.${name})`),
    tie('term').map((term) => `size(${term}) > 1`),
    fc
      .tuple(
        tie('term'),
        fc.constantFrom('startsWith("x")', 'endsWith("y")', 'contains("x")', 'matches("^x.?$")'),
      )
      .map((parts) => parts.join('.')),
    fc
      .tuple(
        tie('term'),
        fc.constantFrom('all', 'exists', 'exists_one'),
        fc.constantFrom('m == "x"', 'm > 1', 'm != args.a'),
      )
      .map(([term, loop, body]) => `${term}.${loop}(m, ${body})`),
    tie('term').map((term) => `int(${term}) == 1`),
    tie('term').map((term) => `string(${term}) == "x"`),
    tie('term').map((term) => `type(${term}) == string`),
    tie('term').map((term) => `${term}.filter(m, m != "x").size() == 1`),
  ),
  condition: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    tie('atom'),
    fc
      .tuple(tie('condition'), fc.constantFrom('&&', '||'), tie('condition'))
      .map(([a, op, b]) => `(${a}) ${op} (${b})`),
    tie('condition').map((one) => `!(${one})`),
    fc
      .tuple(tie('condition'), tie('condition'), tie('condition'))
      .map(([a, b, c]) => `(${a}) ? (${b}) : (${c})`),
  ),
}));

t.test('our engine and the other one answer alike, errors included', async (t) => {
  const counts = new Map<string, number>();
  let refused = 0;
  fc.assert(
    fc.property(condition, anyArgs, (text, args) => {
      let program: Condition;
      try {
        program = compiler.compile(text, 'mcp');
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        refused += 1;
        return true;
      }
      const [here, there] = [ours(program, args), theirs(text, args)];
      counts.set(here, (counts.get(here) ?? 0) + 1);
      if (here !== there)
        throw new Error(`${text} of ${JSON.stringify(args)}: ${here} here, ${there} there`);
      return true;
    }),
    { numRuns: 2500 },
  );
  t.ok(
    ['true', 'false', 'none'].every((one) => (counts.get(one) ?? 0) > 200),
    JSON.stringify([...counts]),
  );
  t.ok(refused < 400, `${refused} were refused when they were compiled`);
});
