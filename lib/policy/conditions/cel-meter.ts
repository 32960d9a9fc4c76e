/**
 * What conditions may cost. Each node of a condition's syntax tree is evaluated through a function
 * of ours, which counts units of work before anything is done: one for the node, and more for
 * whatever goes over characters, members or the states of a pattern. The units of one decision have
 * a bound (`CONDITION_LIMITS.work`), so the same request gets the same verdict on every machine.
 * Past it there is no answer, and nothing is evaluated any more, whatever `||`, `exists` or `all`
 * make of errors. In a loop, what does not name its variable is evaluated once.
 *
 * A unit is about a tenth of a microsecond where the limits were measured (docs/limits.md).
 */
import type { RE2JS } from 're2js';
import { type Evaluator, INSTEAD } from './cel-conversions.ts';
import type { Node } from './cel.ts';
import { children } from './check.ts';
import { InexactNumber, isPlainMap, memberOf, namesOf } from './plain.ts';
import { Unanswerable, noAnswer } from './scope.ts';
import { COMPREHENSIONS } from './variables.ts';

/** The evaluation under way. */
export interface Meter {
  /** What is left of the work of its decision. */
  context: { work: number } | undefined;
  /** What was evaluated in it and is the same in every turn of a loop. */
  readonly known: Map<Node, Known>;
  /** The last error that was counted. */
  failure: unknown;
}

interface Known {
  readonly value: unknown;
  readonly failure: unknown;
}

const TOO_MUCH = new Unanswerable('too_much_work');

/** Errors carry the text of the condition. */
const ERROR = 100;

type Evaluate = (evaluator: Evaluator, node: Node, context: unknown) => unknown;
type Cost = (values: readonly unknown[], left: number) => number;

export interface Metering {
  readonly meter: Meter;
  readonly patterns: ReadonlyMap<string, RE2JS>;
}

/** Changes the tree in place, once it has been type-checked. */
export function meterTree(root: Node, metering: Metering): void {
  const costs = costsOf(metering.patterns);
  const visit = (node: Node, loop: string | undefined, within: boolean): void => {
    const invariant = loop !== undefined && !within && isDear(node) && !names(node, loop);
    for (const child of children(node)) {
      const variable = bodyOf(node, child);
      visit(child, variable ?? loop, variable === undefined && (within || invariant));
    }
    const metered = counted(node, costOf(node, costs), metering.meter);
    node.evaluate = invariant ? once(node, metered, metering.meter) : metered;
    const over = listOf(node);
    if (over !== undefined) over.evaluate = listed(over.evaluate, metering.meter);
  };
  visit(root, undefined, false);
}

/** What a loop goes over. */
function listOf({ op, args }: Node): Node | undefined {
  if (op !== 'rcall') return undefined;
  const [name, receiver] = args as [string, Node];
  return COMPREHENSIONS.has(name) ? receiver : undefined;
}

/** The variable of the loop whose body this child is. */
function bodyOf(node: Node, child: Node): string | undefined {
  const over = listOf(node);
  if (over === undefined || child === over) return undefined;
  const [, , [variable]] = node.args as [string, Node, readonly Node[]];
  return String(variable?.args);
}

/** Over a map a loop goes by a list of its names. */
function listed(evaluate: Evaluate, meter: Meter): Evaluate {
  return (evaluator, ast, context) => {
    const value = evaluate(evaluator, ast, context);
    if (isPlainMap(value)) spend(meter, namesOf(value).length);
    return value;
  };
}

function names(node: Node, variable: string): boolean {
  if (node.op === 'id') return node.args === variable;
  return children(node).some((child) => names(child, variable));
}

function isDear({ op }: Node): boolean {
  return op !== 'id' && op !== 'value' && op !== '.';
}

function spend({ context }: Meter, units: number): void {
  if (context === undefined) throw TOO_MUCH;
  context.work -= units;
  if (context.work < 0) throw TOO_MUCH;
}

function counted(node: Node, cost: Cost | undefined, meter: Meter): Evaluate {
  const evaluate = cost === undefined ? plainly(node) : weighed(node, cost, meter);
  return (evaluator, ast, context) => {
    spend(meter, 1);
    try {
      const value = evaluate(evaluator, ast, context);
      if (typeof value === 'object' && value instanceof InexactNumber)
        throw noAnswer('inexact_number');
      if (typeof value === 'number' && !Number.isFinite(value)) throw noAnswer('numeric_overflow');
      return value;
    } catch (failure) {
      if (failure !== TOO_MUCH && failure !== meter.failure) {
        meter.failure = failure;
        spend(meter, ERROR);
      }
      throw failure;
    }
  };
}

/** As the library evaluates it. */
function plainly({ meta }: Node): Evaluate {
  const { alternate, macro } = meta;
  if (alternate !== undefined)
    return (evaluator, _node, context) => alternate.evaluate(evaluator, alternate, context);
  if (macro !== undefined)
    return (evaluator, _node, context) => macro.evaluate(evaluator, macro, context);
  return (evaluator, node, context) => meta.evaluate(evaluator, node, context);
}

/** Operands first, then their cost, then what is done with them. */
function weighed(node: Node, cost: Cost, meter: Meter): Evaluate {
  const { op, args } = node;
  const pay = (values: readonly unknown[]): void =>
    spend(meter, cost(values, meter.context?.work ?? 0));
  if (op === 'call' || op === 'rcall') {
    const operands = children(node);
    return (evaluator, ast, context) => {
      const values = operands.map((operand) => evaluator.run(operand, context));
      pay(values);
      return op === 'call'
        ? ast.handle(values, ast, evaluator)
        : ast.handle(values, evaluator, ast);
    };
  }
  const [left, right] = args as readonly [Node, Node];
  return (evaluator, ast, context) => {
    const values = [evaluator.run(left, context), evaluator.run(right, context)];
    pay(values);
    return ast.handle(values[0], values[1], ast, evaluator);
  };
}

function once(node: Node, evaluate: Evaluate, meter: Meter): Evaluate {
  return (evaluator, ast, context) => {
    const before = meter.known.get(node);
    if (before !== undefined) {
      spend(meter, 1);
      if (before.failure !== undefined) throw before.failure;
      return before.value;
    }
    try {
      const value = evaluate(evaluator, ast, context);
      meter.known.set(node, { value, failure: undefined });
      return value;
    } catch (failure) {
      meter.known.set(node, { value: undefined, failure });
      throw failure;
    }
  };
}

/** undefined: the node costs nothing but itself. */
function costOf(node: Node, costs: ReadonlyMap<string, Cost>): Cost | undefined {
  const { op, args, meta } = node;
  if (FREE.has(op)) return undefined;
  const name = op === 'call' || op === 'rcall' ? (args as readonly [string])[0] : undefined;
  if (
    meta.macro !== undefined ||
    (op === 'rcall' && name !== undefined && COMPREHENSIONS.has(name))
  )
    return undefined;
  const cost = name === undefined ? OPERATORS[op] : costs.get(name);
  if (cost === undefined) throw new TypeError(`what ${name ?? op} costs is not known`);
  return cost;
}

const FREE: ReadonlySet<string> = new Set([
  'value',
  'id',
  '.',
  'list',
  'map',
  '?:',
  '||',
  '&&',
  '!_',
  '-_',
]);

const chars = (value: unknown): number => (typeof value === 'string' ? value.length : 0);
/** Texts are compared, copied and joined many characters at a time. */
const copied: Cost = ([a, b]) => (chars(a) + chars(b)) / 32;
const compared: Cost = ([a, b]) => Math.min(chars(a), chars(b)) / 32;
/** What it takes to find out of what types the members are. */
const typed: Cost = (values) => values.reduce<number>((sum, value) => sum + typeCost(value), 0);

const OPERATORS: Readonly<Record<string, Cost>> = Object.freeze({
  '==': ([a, b]) => equalCost(a, b),
  '!=': ([a, b]) => equalCost(a, b),
  in: ([value, of]) =>
    Array.isArray(of)
      ? of.reduce<number>((sum, one) => sum + equalCost(value, one), 0)
      : typeCost(of) + chars(value) / 32,
  '+': ([a, b]) => copied([a, b], 0) + lengthOf(a) + lengthOf(b),
  '<': compared,
  '<=': compared,
  '>': compared,
  '>=': compared,
  '-': typed,
  '*': typed,
  '/': typed,
  '%': typed,
  '[]': ([, key]) => chars(key) / 32,
});

function lengthOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 0;
}

/**
 * The library looks at the first member of each level; to find that of a map takes a list of its
 * names.
 */
function typeCost(value: unknown): number {
  if (Array.isArray(value)) return 1 + typeCost(value[0]);
  if (!isPlainMap(value)) return 0;
  const names = namesOf(value);
  return 1 + names.length + typeCost(memberOf(value, names[0] ?? ''));
}

/** Every member may have to be looked at; what nothing may be decided by has no equal. */
function equalCost(a: unknown, b: unknown): number {
  if (a instanceof InexactNumber || b instanceof InexactNumber) throw noAnswer('inexact_number');
  if (Array.isArray(a) && Array.isArray(b)) {
    const length = Math.min(a.length, b.length);
    let sum = 1 + typeCost(a) + typeCost(b);
    for (let i = 0; i < length; i += 1) sum += equalCost(a[i], b[i]);
    return sum;
  }
  if (isPlainMap(a) && isPlainMap(b)) {
    let sum = 1 + typeCost(a) + typeCost(b);
    for (const name of namesOf(a)) {
      const other = memberOf(b, name);
      if (other !== undefined) sum += equalCost(memberOf(a, name), other);
    }
    return sum;
  }
  return 1 + (chars(a) === chars(b) ? chars(a) / 32 : 0);
}

const ASCII = /^[\0-\x7f]*$/;

/** Of the functions and methods that a condition can call. */
function costsOf(patterns: ReadonlyMap<string, RE2JS>): ReadonlyMap<string, Cost> {
  const conversion: Cost = ([value]) => 4 + Math.min(chars(value), 128) / 4;
  const time: Cost = () => 8;
  const costs: Readonly<Record<string, Cost>> = {
    size: ([of]) => chars(of) / 16 + typeCost(of),
    int: conversion,
    double: conversion,
    string: conversion,
    bool: conversion,
    type: typed,
    dyn: typed,
    timestamp: time,
    duration: time,
    rank: conversion,
    contains: ([text, part]) => chars(text) / 16 + chars(part) / 16,
    startsWith: compared,
    endsWith: compared,
    matches: ([text, pattern]) =>
      chars(text) * (1 + (patterns.get(String(pattern))?.programSize() ?? 0) / 10),
    lowerAscii: ([text], left) => {
      const least = chars(text) / 16;
      return least > left || ASCII.test(String(text)) ? least : chars(text) * 1.5;
    },
    header: () => 32,
    param: () => 64,
  };
  const times =
    'FullYear Month Date DayOfMonth DayOfWeek DayOfYear Hours Minutes Seconds Milliseconds'.split(
      ' ',
    );
  const all = [...Object.entries(costs), ...times.map((part) => [`get${part}`, time] as const)];
  return new Map(all.map(([name, cost]) => [INSTEAD[name] ?? name, cost]));
}
