/**
 * The CEL library as we use it. Its `matches` is a backtracking RegExp, its `has` takes whatever holds a key for a map, and its scanning methods have no
 * bound: once an expression is parsed, those calls are given to functions of ours, by the names below, which no expression can write. Everything here that
 * leans on the shape of the library's syntax tree is under test.
 */
import { Environment, EvaluationError, serialize, type ASTNode } from '@marcbachmann/cel-js';
import { RE2JS } from 're2js';
import { CONDITION_LIMITS, TYPES, VARIABLES, type Phase, type TypeName } from './condition-env.ts';
import {
  ConnectionView,
  DestinationView,
  GrpcView,
  HeaderView,
  IdentityView,
  McpView,
  noAnswer,
  ParamView,
  RequestView,
  TaskView,
  Unanswerable,
} from './condition-view.ts';
import { IntentView } from './intent-view.ts';

/** A node of the syntax tree, as far as we look into it. */
export interface Node {
  readonly op: string;
  readonly args: unknown;
  readonly start: number;
  readonly end: number;
  readonly meta?: { readonly macro?: Macro };
}

interface Macro {
  readonly args: readonly Node[];
  typeCheck(checker: Checker, macro: Macro, context: unknown): unknown;
  evaluate(evaluator: Evaluator, macro: Macro, context: unknown): unknown;
}

interface Checker {
  check(node: unknown, context: unknown): unknown;
  getType(name: string): unknown;
}

interface Evaluator {
  run(node: unknown, context: unknown): unknown;
}

export function rootOf(ast: ASTNode): Node {
  return ast as unknown as Node;
}

export type Operator = 'and' | 'or' | 'not' | 'choice' | 'leaf';

const LOGIC: Readonly<Record<string, Operator>> = Object.freeze({
  '&&': 'and',
  '||': 'or',
  '!_': 'not',
  '?:': 'choice',
});

/** The operands of a logical operator, as texts; a chain of one operator is one. The tree must be fresh: one that was checked does not read as text. */
export function splitOf(ast: ASTNode): { readonly op: Operator; readonly texts: readonly string[] } {
  const op = LOGIC[ast.op];
  if (op === undefined) return { op: 'leaf', texts: [] };
  return { op, texts: operands(ast, ast.op).map(serialize) };
}

function operands({ args }: ASTNode, chain: ASTNode['op']): readonly ASTNode[] {
  const own = (Array.isArray(args) ? args : [args]) as readonly ASTNode[];
  if (chain !== '&&' && chain !== '||') return own;
  return own.flatMap((one) => (one.op === chain ? operands(one, chain) : [one]));
}

/** The decision under way: what its conditions may still scan. */
export interface Meter {
  context: { scannable: number } | undefined;
}

/** What stands in for functions of the library; blanks keep expressions from writing these names. */
export const INSTEAD: Readonly<Record<string, string>> = Object.freeze({
  matches: 're2 matches',
  contains: 'bounded contains',
  lowerAscii: 'ascii lower',
  int: 'bounded int',
  size: 'bounded size',
});

/** Gives a call to ours. */
export function renameCall({ args }: Node): void {
  const call = args as [string, ...unknown[]];
  call[0] = INSTEAD[call[0]] ?? call[0];
}

/** `has(e.f)` as the CEL specification has it: an error of `e`, or an `e` that is no map or message, is an error. */
export function strictHas({ meta }: Node): void {
  const macro = meta?.macro;
  if (macro === undefined) throw new TypeError('has is not the macro of the library that we know');
  macro.typeCheck = (checker, { args }, context) => (checker.check(args[0], context), checker.getType('bool'));
  macro.evaluate = (evaluator, { args }, context) => {
    const [holder, key] = (args[0]?.args ?? []) as [Node, string];
    const value = evaluator.run(holder, context);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw noAnswer('no_such_overload');
    return isMap(value) ? Object.hasOwn(value, key) && value[key] !== undefined : Reflect.get(value, key) !== undefined;
  };
}

/** Data, as opposed to one of our views. */
function isMap(value: object): value is Readonly<Record<string, unknown>> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

const CLASSES: Readonly<Record<TypeName, new (...args: never[]) => object>> = Object.freeze({
  Connection: ConnectionView,
  Request: RequestView,
  Param: ParamView,
  Header: HeaderView,
  Destination: DestinationView,
  Identity: IdentityView,
  Task: TaskView,
  Mcp: McpView,
  Grpc: GrpcView,
  Intent: IntentView,
});

export interface EnvironmentOptions {
  readonly phase: Phase;
  readonly rank: (dataClass: string) => number | undefined;
  readonly patterns: ReadonlyMap<string, RE2JS>;
  readonly meter: Meter;
}

/** The declared environment of a phase. */
export function environmentOf({ phase, rank, patterns, meter }: EnvironmentOptions): Environment {
  const { nodes, depth, literalMembers } = CONDITION_LIMITS;
  const env = new Environment({
    unlistedVariablesAreDyn: false,
    limits: {
      maxAstNodes: nodes,
      maxDepth: depth,
      maxListElements: literalMembers,
      maxMapEntries: literalMembers,
      maxCallArguments: 4,
    },
  });
  for (const [name, ctor] of Object.entries(CLASSES)) {
    const fields = Object.entries(TYPES[name as TypeName]).map(([field, { type }]) => [field, type]);
    env.registerType(name, { ctor, fields: Object.fromEntries(fields) });
  }
  for (const [name, { type, phases }] of VARIABLES) if (phases.includes(phase)) env.registerVariable(name, type);
  env.registerFunction('Request.header(string): list<string>', (of: RequestView, name: string) => of.header(name));
  env.registerFunction('Request.param(string): list<string>', (of: RequestView, name: string) => of.param(name));
  env.registerFunction('rank(string): int', (dataClass: string) => {
    const found = rank(dataClass);
    if (found === undefined) throw noAnswer('no_such_class');
    return BigInt(found);
  });
  toInt(env);
  scanning(env, patterns, meter);
  return env;
}

/** The largest double below 2^63, and its opposite. */
const LARGEST_INT = 9_223_372_036_854_774_784;
const MOST_DIGITS = 20;

/** The library's takes doubles that no int can hold. */
function toInt(env: Environment): void {
  const takes = (type: string, handler: (value: never) => bigint): void =>
    void env.registerFunction({
      name: INSTEAD['int'] ?? '',
      returnType: 'int',
      handler,
      params: [{ name: 'value', type }],
      async: false,
    });
  takes('int', (value: bigint) => value);
  takes('double', (value: number) => {
    if (!(Math.abs(value) <= LARGEST_INT)) throw noAnswer('numeric_overflow');
    return BigInt(Math.trunc(value));
  });
  takes('string', (value: string) => {
    if (!/^[+-]?\d+$/.test(value) || value.length > MOST_DIGITS) throw noAnswer('int_conversion_error');
    const whole = BigInt(value.replace(/^\+/, ''));
    if (BigInt.asIntN(64, whole) !== whole) throw noAnswer('int_conversion_error');
    return whole;
  });
  takes('google.protobuf.Timestamp', (value: Date) => BigInt(Math.floor(value.getTime() / 1000)));
}

function scanning(env: Environment, patterns: ReadonlyMap<string, RE2JS>, meter: Meter): void {
  const scan = (characters: number): void => {
    const { context } = meter;
    if (context === undefined) return;
    context.scannable -= characters;
    if (context.scannable < 0) throw noAnswer('too_long');
  };
  const method = (name: string, returnType: string, handler: (of: string, arg: string) => unknown): void =>
    void env.registerFunction({
      name: INSTEAD[name] ?? name,
      receiverType: 'string',
      returnType,
      handler,
      params: name === 'lowerAscii' ? [] : [{ name: 'arg', type: 'string' }],
      async: false,
    });
  method('matches', 'bool', (text, pattern) => {
    scan(text.length);
    const compiled = patterns.get(pattern);
    if (compiled === undefined) throw noAnswer('invalid_regular_expression');
    return compiled.test(text);
  });
  method('contains', 'bool', (text, part) => {
    scan(text.length >> 4);
    if (part.length > CONDITION_LIMITS.needle) throw noAnswer('too_long');
    return text.includes(part);
  });
  sizes(env, scan);
  method('lowerAscii', 'string', (text) => text.replace(/[A-Z]+/g, (upper) => upper.toLowerCase()));
}

/** Of a string in characters, which takes reading it. */
function sizes(env: Environment, scan: (characters: number) => void): void {
  const name = INSTEAD['size'] ?? '';
  const of = (type: 'string' | 'list' | 'map', handler: (value: never) => bigint): void => {
    env.registerFunction({ name, returnType: 'int', handler, params: [{ name: 'value', type }], async: false });
    env.registerFunction({ name, receiverType: type, returnType: 'int', handler, params: [], async: false });
  };
  of('string', (text: string) => {
    scan(text.length >> 4);
    let characters = 0;
    for (let i = 0; i < text.length; i += (text.codePointAt(i) ?? 0) > 0xffff ? 2 : 1) characters += 1;
    return BigInt(characters);
  });
  of('list', (list: readonly unknown[]) => BigInt(list.length));
  of('map', (map: object) => BigInt(Object.keys(map).length));
}

/** RE2 of a pattern; throws with RE2's words for what is wrong. */
export function compilePattern(pattern: string): RE2JS {
  return RE2JS.compile(pattern);
}

/** Our code, or the library's, of an answer that could not be given. */
export function codeOf(failure: unknown): string {
  return failure instanceof EvaluationError || failure instanceof Unanswerable ? failure.code : 'internal';
}
