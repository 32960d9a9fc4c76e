/**
 * What a condition may be, beyond its types: the walk over its syntax tree when a document is
 * loaded. It lets through declared functions alone, holds patterns, times and data classes against
 * what they must be, keeps loops from nesting, and hands the calls that
 * lib/policy/conditions/cel.ts replaces over to it.
 */
import { quote } from '../../net/host.ts';
import { foldField } from '../model/field-table.ts';
import { SECRET_FIELDS } from '../model/judged-fields.ts';
import { INSTEAD } from './cel-conversions.ts';
import { type Node, compilePattern, renameCall, strictHas } from './cel.ts';
import { COMPREHENSIONS, CONDITION_LIMITS, FUNCTIONS, METHODS } from './variables.ts';

/** What is wrong, and where in the text. */
export interface Objection {
  readonly message: string;
  readonly hint: string;
  readonly start: number;
}

export interface Checked {
  /** Names at the root of what is read: variables, and those that loops bind. */
  readonly names: ReadonlySet<string>;
  readonly patterns: ReadonlyMap<string, ReturnType<typeof compilePattern>>;
  /** It reads what was done before: the history of the agent session. */
  readonly history: boolean;
}

export interface CheckOptions {
  /** Variables, which a loop may not bind again. */
  readonly variables: readonly string[];
  readonly dataClasses: readonly string[];
}

/** Throws an Objection. Changes calls in place, before the tree is type-checked. */
export function checkTree(root: Node, options: CheckOptions): Checked {
  const walk = new Walk(options);
  walk.visit(root, false);
  return walk;
}

class Walk implements Checked {
  readonly names = new Set<string>();
  readonly patterns = new Map<string, ReturnType<typeof compilePattern>>();
  history = false;
  readonly #options: CheckOptions;

  constructor(options: CheckOptions) {
    this.#options = options;
  }

  visit(node: Node, inLoop: boolean): void {
    if (isHistory(node)) this.history = true;
    if (node.op === 'id') this.names.add(String(node.args));
    else if (node.op === 'call') this.#call(node, inLoop);
    else if (node.op === 'rcall') this.#method(node, inLoop);
    else {
      if (node.op === 'value' && typeof node.args === 'object' && node.args !== null) {
        throw objection(
          node,
          'bytes and unsigned numbers are not used here',
          'write a string, or a number without u',
        );
      }
      if (node.op === 'map') onlyStringKeys(node);
      if (node.op === 'in' && inLoop) onlyLiterals(node);
      for (const child of children(node)) this.visit(child, inLoop);
    }
  }

  #call(node: Node, inLoop: boolean): void {
    const [name, args] = node.args as [string, readonly Node[]];
    if (!FUNCTIONS.has(name)) throw unknownCall(node, name, FUNCTIONS);
    if (name in INSTEAD) renameCall(node);
    if (name === 'has') strictHas(node);
    if (name === 'timestamp' || name === 'duration') checkTime(args[0] ?? node, name);
    if (name === 'rank') this.#rank(args[0] ?? node);
    for (const arg of args) this.visit(arg, inLoop);
  }

  #method(node: Node, inLoop: boolean): void {
    const [name, receiver, args] = node.args as [string, Node, readonly Node[]];
    if (!METHODS.has(name)) throw unknownCall(node, name, METHODS);
    if (COMPREHENSIONS.has(name)) {
      this.#loop(node, inLoop);
      return;
    }
    if (name.startsWith('get') && args.length > 0) {
      throw objection(
        args[0] ?? node,
        'times are in UTC: a time zone is not read',
        'leave the argument out',
      );
    }
    if (name === 'matches') this.#pattern(args[0] ?? node);
    if (name === 'header') checkField(args[0] ?? node);
    if (name in INSTEAD) renameCall(node);
    this.visit(receiver, inLoop);
    for (const arg of args) this.visit(arg, inLoop);
  }

  #loop(node: Node, inLoop: boolean): void {
    const [, over, [variable, ...bodies]] = node.args as [string, Node, readonly Node[]];
    if (inLoop) throw objection(node, 'a loop is inside of another', 'loop over one list alone');
    const name = variable?.op === 'id' ? String(variable.args) : '';
    if (this.#options.variables.includes(name)) {
      throw objection(
        variable ?? node,
        `${name} is a variable already`,
        'give the member another name',
      );
    }
    const joined = find(over, ({ op }) => op === '+');
    if (joined !== undefined)
      throw objection(joined, 'a loop is over lists that are joined', 'loop over each of them');
    this.visit(over, false);
    for (const body of bodies) this.visit(body, true);
    this.names.delete(name);
  }

  #pattern(node: Node): void {
    const pattern = textOf(node);
    if (pattern === undefined) {
      throw objection(
        node,
        'the pattern of matches is no literal',
        'write it out: matches("^/v1/")',
      );
    }
    if (pattern.length > CONDITION_LIMITS.patternCharacters) {
      throw objection(
        node,
        `the pattern is longer than ${CONDITION_LIMITS.patternCharacters} characters`,
        'shorten it',
      );
    }
    try {
      this.patterns.set(pattern, compilePattern(pattern));
    } catch (failure) {
      const words = failure instanceof Error ? failure.message : String(failure);
      throw objection(
        node,
        `the pattern is not RE2: ${words}`,
        'see the syntax of RE2; it has no look-around',
      );
    }
  }

  #rank(node: Node): void {
    const dataClass = textOf(node);
    const { dataClasses } = this.#options;
    if (dataClass === undefined || dataClass === 'none' || dataClasses.includes(dataClass)) return;
    throw objection(
      node,
      `${quote(dataClass)} is no data class`,
      `they are ${dataClasses.join(', ')}`,
    );
  }
}

/** The library keeps maps of literals in objects, whose keys are strings. */
function onlyStringKeys(node: Node): void {
  for (const [key] of node.args as readonly (readonly Node[])[]) {
    if (key !== undefined && textOf(key) === undefined)
      throw objection(key, 'a key of a map is no literal string', 'write {"name": …}');
  }
}

function onlyLiterals(node: Node): void {
  const [, list] = node.args as readonly Node[];
  const plain = list?.op === 'list' && children(list).every(({ op }) => op === 'value');
  if (!plain)
    throw objection(
      node,
      'in over a list, inside of a loop, is a loop too',
      'write the list out, or loop over it',
    );
}

/**
 * RFC 3339 with seconds, as the CEL specification asks for, and no finer than milliseconds; the
 * library reads more and keeps less.
 */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?(?:Z|[+-]\d\d:\d\d)$/;
const DURATION = /^-?(?:\d+(?:\.\d+)?(?:h|m|s|ms))+$/;

function checkTime(node: Node, name: 'timestamp' | 'duration'): void {
  const text = textOf(node);
  const [grammar, example] =
    name === 'timestamp' ? [TIME, '2026-01-31T00:00:00Z'] : [DURATION, '90s'];
  if (
    text !== undefined &&
    grammar.test(text) &&
    (name === 'duration' || !Number.isNaN(Date.parse(text)))
  )
    return;
  throw objection(node, `${name} wants a literal such as "${example}"`, 'write it out');
}

function checkField(node: Node): void {
  const name = textOf(node);
  if (name === undefined || !SECRET_FIELDS.has(foldField(name.toLowerCase()))) return;
  throw objection(
    node,
    `${name.toLowerCase()} carries a secret: conditions do not see it`,
    'decide by something else',
  );
}

function unknownCall(node: Node, name: string, known: ReadonlyMap<string, string>): Objection {
  return objection(
    node,
    `${quote(name)} cannot be called here`,
    `what can is ${[...known.keys()].join(', ')}`,
  );
}

function objection({ start }: Node, message: string, hint: string): Objection {
  return { message, hint, start };
}

/** `task.read` and its like; `task[…]`, of which nothing is known before it is asked. */
function isHistory({ op, args }: Node): boolean {
  if (!Array.isArray(args)) return false;
  const [of, name]: readonly unknown[] = args;
  const ofTask =
    typeof of === 'object' &&
    of !== null &&
    'op' in of &&
    of.op === 'id' &&
    'args' in of &&
    of.args === 'task';
  return ofTask && (op.startsWith('[') || (op.startsWith('.') && HISTORY.has(String(name))));
}

const HISTORY: ReadonlySet<string> = new Set(['read', 'wrote', 'actions', 'destinations']);

/** The text of a literal. */
function textOf(node: Node | undefined): string | undefined {
  return node?.op === 'value' && typeof node.args === 'string' ? node.args : undefined;
}

export function children({ op, args }: Node): readonly Node[] {
  switch (op) {
    case 'value':
    case 'id':
      return [];
    case '.':
      return (args as readonly Node[]).slice(0, 1);
    case 'call':
      return (args as [string, readonly Node[]])[1];
    case 'rcall': {
      const [, receiver, rest] = args as [string, Node, readonly Node[]];
      return [receiver, ...rest];
    }
    case 'map':
      return (args as readonly (readonly Node[])[]).flat();
    default:
      return Array.isArray(args) ? (args as readonly Node[]) : [args as Node];
  }
}

function find(node: Node, wanted: (node: Node) => boolean): Node | undefined {
  if (wanted(node)) return node;
  for (const child of children(node)) {
    const found = find(child, wanted);
    if (found !== undefined) return found;
  }
  return undefined;
}
