/**
 * Conditions: `when:` in CEL. Compiled and type-checked when a document is loaded, to bool or not
 * at all; pure, synchronous and bounded when they are asked. An answer is true, false, or none:
 * what asked decides what none means (lib/policy/decision/decide.ts: on a deny rule it denies, on
 * an allow rule it does not allow). No words about a missing answer ever hold a value of the
 * request: they are written here, by code.
 */
import { type TypeError as CelTypeError, ParseError, type ParseResult } from '@marcbachmann/cel-js';
import { Fault } from '../../base/fault.ts';
import { nearest } from '../../base/nearest.ts';
import { RENAMED } from '../../schema/renamed.ts';
import type {
  Answer,
  Condition,
  NoAnswer,
  Parts,
  Phase,
  Reads,
  ConditionScope,
} from '../model/condition.ts';
import { type Meter, meterTree } from './cel-meter.ts';
import { codeOf, environmentOf, rootOf, splitOf } from './cel.ts';
import { type Checked, type Objection, checkTree } from './check.ts';
import { readsOf } from './reads.ts';
import { CONDITION_LIMITS, TYPES, VARIABLES, variablesOf } from './variables.ts';

export interface Conditions {
  /**
   * Throws a Fault `config` whose message begins with the place in the text (`column 14: …`, `line
   * 2, column 5: …`). Equal texts of a phase are one condition.
   */
  compile(text: string, phase: Phase): Condition;
}

/** The compiler for one set of documents; `dataClasses` lowest first. */
export function conditions(dataClasses: readonly string[]): Conditions {
  const ranks = new Map(['none', ...dataClasses].map((name, i) => [name, i - 1] as const));
  const meter: Meter = { context: undefined, known: new Map(), failure: undefined };
  const patterns = new Map<string, ReturnType<Checked['patterns']['get']> & {}>();
  const environments = new Map<Phase, ReturnType<typeof environmentOf>>();
  const known = new Map<string, Condition>();
  const environment = (phase: Phase): ReturnType<typeof environmentOf> => {
    let env = environments.get(phase);
    if (env === undefined) {
      env = environmentOf({ phase, rank: (name) => ranks.get(name), patterns });
      environments.set(phase, env);
    }
    return env;
  };
  const compile = (text: string, phase: Phase): Condition => {
    const program = parsed(text, environment(phase));
    const variables = variablesOf(phase);
    const reads = readsOf(rootOf(program.ast));
    const checked = refusing(text, () =>
      checkTree(rootOf(program.ast), { variables, dataClasses }),
    );
    typed(text, program, phase);
    for (const [pattern, re2] of checked.patterns) patterns.set(pattern, re2);
    meterTree(rootOf(program.ast), { meter, patterns });
    return new Compiled({
      text,
      phase,
      variables: new Set(variables.filter((name) => checked.names.has(name))),
      reads,
      history: checked.history,
      program,
      parts: () => partsOf(environment(phase).parse(text), (part) => compiled(part, phase)),
      meter,
    });
  };
  const compiled = (text: string, phase: Phase): Condition => {
    const key = `${phase} ${text}`;
    let condition = known.get(key);
    if (condition === undefined) known.set(key, (condition = compile(text, phase)));
    return condition;
  };
  return Object.freeze({ compile: compiled });
}

function partsOf({ ast }: ParseResult, compile: (text: string) => Condition): Parts {
  const { op, texts } = splitOf(ast);
  return { op, of: texts.map((text) => asPart(text, compile)) };
}

/** An operand of `&&` may be a value that is only known to be a bool when it is asked. */
function asPart(text: string, compile: (text: string) => Condition): Condition {
  try {
    return compile(text);
  } catch {
    return compile(`(${text}) == true`);
  }
}

interface Compilation extends Omit<Condition, 'evaluate' | 'parts'> {
  readonly program: ParseResult;
  readonly parts: () => Parts;
  readonly meter: Meter;
}

class Compiled implements Condition {
  readonly text: string;
  readonly phase: Phase;
  readonly variables: ReadonlySet<string>;
  readonly reads: Reads;
  readonly history: boolean;
  readonly #program: ParseResult;
  readonly #parts: () => Parts;
  readonly #meter: Meter;

  constructor({ text, phase, variables, reads, history, program, parts, meter }: Compilation) {
    this.text = text;
    this.phase = phase;
    this.variables = variables;
    this.reads = reads;
    this.history = history;
    this.#program = program;
    this.#parts = parts;
    this.#meter = meter;
    Object.freeze(this);
  }

  parts(): Parts {
    return this.#parts();
  }

  evaluate(context: ConditionScope): Answer {
    const meter = this.#meter;
    meter.context = context;
    // Nobody sees the stacks of its errors, which cost more than all else.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    try {
      const value: unknown = this.#program(context);
      // Whatever the operators made of the end of the evaluation.
      if (context.work < 0) return noAnswerFor('too_much_work');
      return typeof value === 'boolean' ? value : noAnswerFor('internal');
    } catch (failure) {
      return noAnswerFor(context.work < 0 ? 'too_much_work' : codeOf(failure));
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
      meter.context = undefined;
      meter.failure = undefined;
      meter.known.clear();
    }
  }
}

const INEXACT = 'a number has more digits, or is larger, than is read exactly';

/** Codes, ours and the library's, to words. */
const WORDS: Readonly<Record<string, string>> = Object.freeze({
  no_such_key: 'a key that it reads is not there',
  unknown_variable: 'something that it reads is not known here',
  no_such_overload: 'a value is not of the type that it takes it for',
  no_matching_overload: 'a value is not of the type that it takes it for',
  invalid_logical_operand: 'a value is not of the type that it takes it for',
  invalid_condition_type: 'a value is not of the type that it takes it for',
  field_type_mismatch: 'a value is not of the type that it takes it for',
  variable_type_mismatch: 'a value is not of the type that it takes it for',
  list_item_type_mismatch: 'a value is not of the type that it takes it for',
  invalid_comprehension_range: 'what it loops over is no list',
  index_out_of_bounds: 'a list has fewer members than it takes for granted',
  division_by_zero: 'it divides by zero',
  modulo_by_zero: 'it divides by zero',
  numeric_overflow: 'a number is too large',
  int_conversion_error: 'a text is no number',
  double_conversion_error: 'a text is no number',
  bool_conversion_error: 'a text is no truth value',
  ambiguous_query: 'the query can be read in more than one way',
  too_many_params: `the query has more than ${CONDITION_LIMITS.members} parameters`,
  too_many_headers: `there are more than ${CONDITION_LIMITS.members} header fields`,
  too_many_values: `the arguments hold more than ${CONDITION_LIMITS.values} values`,
  too_long: 'a text is too long for it',
  too_much_work: 'it takes more work than one decision may',
  inexact_number: INEXACT,
  // Of what there is, the library knows the type of all but such numbers.
  unsupported_type: INEXACT,
  no_such_class: 'a text is no data class',
});

const ANSWERS = new Map<string, NoAnswer>();

function noAnswerFor(code: string): NoAnswer {
  let answer = ANSWERS.get(code);
  if (answer === undefined) {
    answer = Object.freeze({ problem: WORDS[code] ?? `it failed (${code})` });
    ANSWERS.set(code, answer);
  }
  return answer;
}

function parsed(text: string, env: ReturnType<typeof environmentOf>): ParseResult {
  if (text.length > CONDITION_LIMITS.characters) {
    throw new Fault(
      'config',
      `the condition is longer than ${CONDITION_LIMITS.characters} characters`,
      {
        hint: 'split it over several rules',
      },
    );
  }
  try {
    return env.parse(text);
  } catch (failure) {
    const hint = 'see docs/policy.md for what a condition is';
    if (failure instanceof ParseError) {
      const message = /\bEOF\b/.test(failure.summary)
        ? 'it ends in the middle'
        : lower(failure.summary);
      throw fault(text, { message, hint, start: failure.range?.start ?? 0 });
    }
    throw fault(text, { message: 'it cannot be read', hint, start: 0 });
  }
}

/** Runs the walk; what it objects to becomes a Fault. */
function refusing<T>(text: string, act: () => T): T {
  try {
    return act();
  } catch (failure) {
    if (failure instanceof Error) throw failure;
    throw fault(text, failure as Objection);
  }
}

function typed(text: string, program: ParseResult, phase: Phase): void {
  const { valid, type, error } = program.check();
  if (!valid)
    throw fault(text, { ...wordsFor(error, text, phase), start: error?.range?.start ?? 0 });
  if (type === 'bool') return;
  const hint = type === 'dyn' ? 'compare it: args.force == true' : 'compare it with something';
  throw fault(text, {
    message: `the condition is ${type === 'dyn' ? 'of no known type' : `a ${type}`}, not a bool`,
    hint,
    start: 0,
  });
}

function wordsFor(
  error: CelTypeError | ParseError | undefined,
  text: string,
  phase: Phase,
): Omit<Objection, 'start'> {
  const message = lower(error?.summary ?? 'it cannot be type-checked');
  if (error?.code === 'unknown_variable') {
    const name = /: (\w+)$/.exec(message)?.[1] ?? '';
    const elsewhere = VARIABLES.some(([other]) => other === name);
    const here = variablesOf(phase).join(', ');
    if (elsewhere)
      return { message: `${name} is not known for a ${phase} rule`, hint: `known are ${here}` };
    return { message, hint: `${didYouMean(name, variablesOf(phase))}known are ${here}` };
  }
  if (error?.code === 'no_such_key') {
    return { message, hint: fieldsHint(text, error.range?.start ?? 0, phase) };
  }
  return { message, hint: 'make both sides one type' };
}

function didYouMean(name: string, known: readonly string[]): string {
  const renamed = RENAMED.get(name);
  if (renamed !== undefined && known.includes(renamed)) return `${name} is called ${renamed} now; `;
  const meant = nearest(name, known);
  return meant === undefined ? '' : `did you mean ${meant}? `;
}

/** What the variable has before whose field the condition is wrong, where it can be told. */
function fieldsHint(text: string, start: number, phase: Phase): string {
  const page = 'see docs/reference/conditions.md';
  const [, variable = '', name = ''] =
    /(\w+)\.(\w+)$/.exec(text.slice(0, start) + wordAt(text, start)) ?? [];
  const row = VARIABLES.find(
    ([other, { phases }]) => other === variable && phases.includes(phase),
  )?.[1];
  const [type, fields] = Object.entries(TYPES).find(([other]) => other === row?.type) ?? [];
  if (type === undefined || fields === undefined)
    return `${page} for the fields of ${Object.keys(TYPES).join(', ')}`;
  const known = Object.keys(fields);
  return `${didYouMean(name, known)}${page}: ${type} has ${known.join(', ')}`;
}

function wordAt(text: string, start: number): string {
  return /^\w*/.exec(text.slice(start))?.[0] ?? '';
}

function fault(text: string, { message, hint, start }: Objection): Fault {
  return new Fault('config', `${placeIn(text, start)}: ${message.replaceAll(/\s+/g, ' ')}`, {
    hint,
  });
}

/** `column 14`, or `line 2, column 5` where the text has several; from 1. */
function placeIn(text: string, offset: number): string {
  const before = text.slice(0, offset).split('\n');
  const column = `column ${(before.at(-1)?.length ?? 0) + 1}`;
  return text.trimEnd().includes('\n') ? `line ${before.length}, ${column}` : column;
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
