/**
 * The conformance cases of the CEL specification, those of them whose expression is a condition:
 * each has the answer that the specification says.
 */
import { getConformanceSuite } from '@bufbuild/cel-spec/testdata/tests.js';
import { Fault } from '../../lib/base/fault.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { ConditionContext } from '../../lib/policy/conditions/scope.ts';
import type { Condition } from '../../lib/policy/model/condition.ts';
import { destination, request } from './destination.ts';
import t from 'tap';

type Suite = ReturnType<typeof getConformanceSuite>;
type Case = Suite['tests'][number]['original'];

/**
 * Where the library is exact and the specification rounds: an int of 64 bits against a double of
 * the same size.
 */
const MORE_EXACT: readonly string[] = [
  'not_lt_dyn_int_big_lossy_double',
  'not_gt_dyn_big_double_int',
  'lte_dyn_big_double_int',
  'gte_dyn_int_big_lossy_double',
];

/**
 * Numbers that are none, and ints that no double is: here they have no answer, as rules would be
 * passed by them.
 */
const NO_NUMBER = /^(not_)?(eq|ne)(_int)?_double_nan$|^(int_range|double_big_precision)$/;

/**
 * Where the library knows more than the specification asks for: times beyond the years 1 to 9999,
 * and one int more.
 */
const WIDER =
  /^(int64_min_negate(_div)?|(add_duration|sub_time_duration|from_string|add|sub)_(under|over))$/;

/** An expression that must be true, or that must have no answer. */
function asCondition({
  expr,
  resultMatcher,
}: Case): { readonly text: string; readonly answer: boolean } | undefined {
  if (resultMatcher.case === 'evalError')
    return { text: `dyn(${expr}) == dyn("never")`, answer: false };
  if (resultMatcher.case === undefined) return { text: expr, answer: true };
  if (resultMatcher.case !== 'value') return undefined;
  const { kind } = resultMatcher.value;
  if (kind.case === 'boolValue') return { text: kind.value ? expr : `!(${expr})`, answer: true };
  if (kind.case === 'int64Value') return { text: `(${expr}) == ${kind.value}`, answer: true };
  if (kind.case === 'stringValue')
    return { text: `(${expr}) == ${JSON.stringify(kind.value)}`, answer: true };
  if (kind.case !== 'doubleValue' || !Number.isFinite(kind.value)) return undefined;
  const text = Number.isInteger(kind.value) ? kind.value.toFixed(1) : String(kind.value);
  return { text: `(${expr}) == ${text}`, answer: true };
}

function* casesOf({ tests, suites, name }: Suite): Generator<readonly [string, Case]> {
  for (const { original } of tests) yield [`${name} ${original.name}`, original];
  for (const suite of suites) yield* casesOf(suite);
}

const compiler = conditions([]);

function compiled(text: string): Condition | undefined {
  try {
    return compiler.compile(text, 'request');
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}

t.test(
  'conditions answer as the specification says, or are refused when they are loaded',
  async (t) => {
    const context = (): ConditionContext =>
      new ConditionContext(request(), destination('crm'), undefined);
    let asked = 0;
    let errors = 0;
    for (const [name, original] of casesOf(getConformanceSuite())) {
      const bound =
        Object.keys(original.bindings).length > 0 ||
        original.container !== '' ||
        original.disableCheck;
      const wanted = bound ? undefined : asCondition(original);
      const condition = wanted && compiled(wanted.text);
      if (
        wanted === undefined ||
        condition === undefined ||
        MORE_EXACT.includes(original.name) ||
        WIDER.test(original.name)
      )
        continue;
      const answer = condition.evaluate(context());
      asked += 1;
      const answers = wanted.answer && !NO_NUMBER.test(original.name);
      if (!answers) errors += 1;
      if (answers) t.equal(answer, true, `${name}: ${wanted.text}`);
      else t.type(answer, 'object', `${name}: ${wanted.text}`);
    }
    t.ok(asked > 500, `${asked} cases of the specification are conditions`);
    t.ok(errors > 30, `${errors} of them have no answer`);
  },
);
