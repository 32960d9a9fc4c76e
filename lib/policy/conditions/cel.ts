/**
 * The CEL library as we use it. Its `matches` is a backtracking RegExp, its `has` takes whatever
 * holds a key for a map, and its conversions take what CEL does not: once an expression is parsed,
 * those calls are given to functions of ours, by the names below, which no expression can write.
 * What all of them may cost is counted by lib/policy/conditions/cel-meter.ts. Everything here that
 * leans on the shape of the library's syntax tree is under test.
 */
import { type ASTNode, Environment, EvaluationError, serialize } from '@marcbachmann/cel-js';
import { RE2JS } from 're2js';
import type { Operator, Phase } from '../model/condition.ts';
import { type Evaluator, INSTEAD, toDouble, toInt } from './cel-conversions.ts';
import { IntentView } from './intent-scope.ts';
import { type PlainMap, isPlainMap, memberOf, namesOf } from './plain.ts';
import {
  ConnectionView,
  DestinationView,
  GrpcView,
  HeaderView,
  IdentityView,
  McpView,
  ParamView,
  RequestView,
  TaskView,
  Unanswerable,
  noAnswer,
} from './scope.ts';
import { CONDITION_LIMITS, TYPES, type TypeName, VARIABLES } from './variables.ts';

/** A node of the syntax tree, as far as we look into it. */
export interface Node {
  readonly op: string;
  readonly args: unknown;
  readonly start: number;
  readonly end: number;
  readonly meta: {
    readonly macro?: Macro;
    readonly alternate?: Node;
    evaluate(evaluator: Evaluator, node: Node, context: unknown): unknown;
  };
  evaluate: (evaluator: Evaluator, node: Node, context: unknown) => unknown;
  /** What is done with the operands; known once the tree has been type-checked. */
  readonly handle: (...operands: unknown[]) => unknown;
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

export function rootOf(ast: ASTNode): Node {
  return ast as unknown as Node;
}

const LOGIC: Readonly<Record<string, Operator>> = Object.freeze({
  '&&': 'and',
  '||': 'or',
  '!_': 'not',
  '?:': 'choice',
});

/**
 * The operands of a logical operator, as texts; a chain of one operator is one. The tree must be
 * fresh: one that was checked does not read as text.
 */
export function splitOf(ast: ASTNode): {
  readonly op: Operator;
  readonly texts: readonly string[];
} {
  const op = LOGIC[ast.op];
  if (op === undefined) return { op: 'leaf', texts: [] };
  return { op, texts: operands(ast, ast.op).map(serialize) };
}

function operands({ args }: ASTNode, chain: ASTNode['op']): readonly ASTNode[] {
  const own = (Array.isArray(args) ? args : [args]) as readonly ASTNode[];
  if (chain !== '&&' && chain !== '||') return own;
  return own.flatMap((one) => (one.op === chain ? operands(one, chain) : [one]));
}

/** Gives a call to ours. */
export function renameCall({ args }: Node): void {
  const call = args as [string, ...unknown[]];
  call[0] = INSTEAD[call[0]] ?? call[0];
}

/**
 * `has(e.f)` as the CEL specification has it: an error of `e`, or an `e` that is no map or message,
 * is an error.
 */
export function strictHas({ meta }: Node): void {
  const { macro } = meta;
  if (macro === undefined) throw new TypeError('has is not the macro of the library that we know');
  macro.typeCheck = (checker, { args }, context) => (
    checker.check(args[0], context),
    checker.getType('bool')
  );
  macro.evaluate = (evaluator, { args }, context) => {
    const [holder, key] = (args[0]?.args ?? []) as [Node, string];
    const value = evaluator.run(holder, context);
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw noAnswer('no_such_overload');
    return (isPlainMap(value) ? memberOf(value, key) : Reflect.get(value, key)) !== undefined;
  };
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
}

/** The declared environment of a phase. */
export function environmentOf({ phase, rank, patterns }: EnvironmentOptions): Environment {
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
    const fields = Object.entries(TYPES[name as TypeName]).map(([field, { type }]) => [
      field,
      type,
    ]);
    env.registerType(name, { ctor, fields: Object.fromEntries(fields) });
  }
  for (const [name, { type, phases }] of VARIABLES)
    if (phases.includes(phase)) env.registerVariable(name, type);
  env.registerFunction('Request.header(string): list<string>', (of: RequestView, name: string) =>
    of.header(name),
  );
  env.registerFunction('Request.param(string): list<string>', (of: RequestView, name: string) =>
    of.param(name),
  );
  env.registerFunction('rank(string): int', (dataClass: string) => {
    const found = rank(dataClass);
    if (found === undefined) throw noAnswer('no_such_class');
    return BigInt(found);
  });
  toInt(env);
  toDouble(env);
  scanning(env, patterns);
  return env;
}

function scanning(env: Environment, patterns: ReadonlyMap<string, RE2JS>): void {
  const method = (
    name: string,
    returnType: string,
    handler: (of: string, arg: string) => unknown,
  ): void =>
    void env.registerFunction({
      name: INSTEAD[name] ?? name,
      receiverType: 'string',
      returnType,
      handler,
      params: name === 'lowerAscii' ? [] : [{ name: 'arg', type: 'string' }],
      async: false,
    });
  method('matches', 'bool', (text, pattern) => {
    const compiled = patterns.get(pattern);
    if (compiled === undefined) throw noAnswer('invalid_regular_expression');
    return compiled.test(text);
  });
  method('contains', 'bool', (text, part) => {
    if (part.length > CONDITION_LIMITS.needle) throw noAnswer('too_long');
    return text.includes(part);
  });
  sizes(env);
  method('lowerAscii', 'string', (text) =>
    ASCII.test(text) ? text.toLowerCase() : text.replace(/[A-Z]+/g, (upper) => upper.toLowerCase()),
  );
}

const ASCII = /^[\0-\x7f]*$/;

/** Of a string in characters, which takes reading it. */
function sizes(env: Environment): void {
  const name = INSTEAD['size'] ?? '';
  const of = (type: 'string' | 'list' | 'map', handler: (value: never) => bigint): void => {
    env.registerFunction({
      name,
      returnType: 'int',
      handler,
      params: [{ name: 'value', type }],
      async: false,
    });
    env.registerFunction({
      name,
      receiverType: type,
      returnType: 'int',
      handler,
      params: [],
      async: false,
    });
  };
  of('string', (text: string) => {
    let characters = 0;
    for (let i = 0; i < text.length; i += (text.codePointAt(i) ?? 0) > 0xffff ? 2 : 1)
      characters += 1;
    return BigInt(characters);
  });
  of('list', (list: readonly unknown[]) => BigInt(list.length));
  of('map', (map: PlainMap) => BigInt(namesOf(map).length));
}

/** RE2 of a pattern; throws with RE2's words for what is wrong. */
export function compilePattern(pattern: string): RE2JS {
  return RE2JS.compile(pattern);
}

/** Our code, or the library's, of an answer that could not be given. */
export function codeOf(failure: unknown): string {
  return failure instanceof EvaluationError || failure instanceof Unanswerable
    ? failure.code
    : 'internal';
}
