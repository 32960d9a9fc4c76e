/**
 * Which names of a request a condition reads: worked out from its syntax tree when it is loaded.
 * `request.header("x-a")` reads one name. A loop over `request.headers`, or a name that is
 * computed, reads any: then what it compares names with, or looks for in them, is what may be a
 * name.
 */
import type { ArgsRead, NamesRead, Reads } from '../model/condition.ts';
import type { Node } from './cel.ts';

const noNames = (): NamesRead => ({ exact: new Set(), parts: new Set(), loose: false });
const noArgs = (): ArgsRead => ({ names: new Map(), each: undefined, loose: false });

/** Of a tree as it was parsed: the calls in it are not replaced yet. */
export function readsOf(root: Node): Reads {
  const walk = new Reading();
  walk.visit(root, new Map());
  const { fields, params, args, keys, words, parts } = walk;
  for (const names of [fields, params, keys]) {
    if (!names.loose) continue;
    for (const word of words) names.exact.add(names === fields ? word.toLowerCase() : word);
    for (const part of parts) names.parts.add(names === fields ? part.toLowerCase() : part);
  }
  return { fields, params, args, keys };
}

/** Variables of loops, and what of the arguments they stand for. */
type Scope = ReadonlyMap<string, ArgsRead | undefined>;

const COMPARING: ReadonlySet<string> = new Set(['==', '!=', 'in', '<', '<=', '>', '>=']);
const SEARCHING: ReadonlySet<string> = new Set(['contains', 'startsWith', 'endsWith', 'matches']);
const LOOPS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'map', 'filter']);

class Reading implements Reads {
  readonly fields = noNames();
  readonly params = noNames();
  readonly keys = noNames();
  readonly args = noArgs();
  readonly words = new Set<string>();
  readonly parts = new Set<string>();

  visit(node: Node, scope: Scope): void {
    const { op } = node;
    if (op === 'rcall') this.#method(node, scope);
    else if (op === '.' || op === '[]') this.#select(node, scope);
    else {
      if (COMPARING.has(op)) this.#compare(node, scope);
      for (const child of childrenOf(node)) this.visit(child, scope);
    }
  }

  #method(node: Node, scope: Scope): void {
    const [name, receiver, args] = node.args as [string, Node, readonly Node[]];
    if (LOOPS.has(name)) {
      this.#loop(receiver, args, scope);
      return;
    }
    if (name === 'header' || name === 'param')
      this.#named(name === 'header' ? this.fields : this.params, args[0]);
    if (SEARCHING.has(name) && isName(receiver, scope)) {
      for (const arg of args) this.#collect(arg, this.parts);
      // A pattern may stand for whole names.
      if (name === 'matches') for (const part of this.parts) this.words.add(part);
    }
    this.visit(receiver, scope);
    for (const arg of args) this.visit(arg, scope);
  }

  #named(names: NamesRead, arg: Node | undefined): void {
    const literal = literalOf(arg);
    if (literal !== undefined)
      names.exact.add(names === this.fields ? literal.toLowerCase() : literal);
    else {
      names.loose = true;
      if (arg !== undefined) this.#collect(arg, arg.op === '+' ? this.parts : this.words);
    }
  }

  #loop(over: Node, [variable, ...bodies]: readonly Node[], scope: Scope): void {
    const read = this.#argsOf(over, scope);
    const name = variable?.op === 'id' ? String(variable.args) : '';
    if (over.op === 'list') this.#collect(over, this.words);
    // Of a map the variable is each key, of a list each member.
    if (read !== undefined) {
      this.keys.loose = read.loose = true;
      read.each ??= noArgs();
    }
    this.visit(over, scope);
    const inside = new Map([...scope, [name, read?.each] as const]);
    for (const body of bodies) this.visit(body, inside);
  }

  #select(node: Node, scope: Scope): void {
    const [holder, key] = node.args as [Node, Node | string];
    if (node.op === '.' && holder.op === 'id' && holder.args === 'request') {
      if (key === 'headers') this.fields.loose = true;
      if (key === 'query') this.params.loose = true;
    }
    this.#argsOf(node, scope);
    this.visit(holder, scope);
    if (typeof key !== 'string') this.visit(key, scope);
  }

  /** What of the arguments an expression is; notes the names on the way. */
  #argsOf(node: Node, scope: Scope): ArgsRead | undefined {
    if (node.op === 'id') return node.args === 'args' ? this.args : scope.get(String(node.args));
    if (node.op === 'rcall') {
      const [name, receiver] = node.args as [string, Node];
      return name === 'filter' ? this.#argsOf(receiver, scope) : undefined;
    }
    if (node.op !== '.' && node.op !== '[]') return undefined;
    const [holder, key] = node.args as [Node, Node | string];
    const read = this.#argsOf(holder, scope);
    if (read === undefined) return undefined;
    const name = typeof key === 'string' ? key : literalOf(key);
    if (name !== undefined) return memberOf(read, name);
    if (typeof key !== 'string' && key.op !== 'value') {
      this.keys.loose = read.loose = true;
      this.#collect(key, this.words);
    }
    return (read.each ??= noArgs());
  }

  #compare({ op, args }: Node, scope: Scope): void {
    const [left, right] = args as readonly [Node, Node];
    const held = op === 'in' ? this.#argsOf(right, scope) : undefined;
    const key = literalOf(left);
    if (held !== undefined && key !== undefined) memberOf(held, key);
    else if (held !== undefined) this.keys.loose = held.loose = true;
    if (isName(left, scope)) this.#collect(right, this.words);
    if (isName(right, scope)) this.#collect(left, this.words);
  }

  /** The texts that are written in an expression; of a pattern its words. */
  #collect(node: Node, into: Set<string>): void {
    const literal = literalOf(node);
    if (literal !== undefined && into === this.words) into.add(literal);
    else if (literal !== undefined)
      for (const [word] of literal.matchAll(/[A-Za-z0-9_-]{2,}/g)) into.add(word);
    else for (const child of childrenOf(node)) this.#collect(child, into);
  }
}

function memberOf(read: ArgsRead, name: string): ArgsRead {
  let member = read.names.get(name);
  if (member === undefined) read.names.set(name, (member = noArgs()));
  return member;
}

/**
 * Whether an expression may be the name of something in a request: a `name`, or what a loop binds
 * as it is.
 */
function isName(node: Node, scope: Scope): boolean {
  if (node.op === 'id') return scope.has(String(node.args));
  if (node.op === '.') {
    const [holder, key] = node.args as [Node, string];
    return key === 'name' && holder.op !== 'id'
      ? true
      : key === 'name' && holder.args !== 'destination';
  }
  return childrenOf(node).some((child) => isName(child, scope));
}

function literalOf(node: Node | undefined): string | undefined {
  return node?.op === 'value' && typeof node.args === 'string' ? node.args : undefined;
}

function childrenOf({ op, args }: Node): readonly Node[] {
  if (op === 'value' || op === 'id') return [];
  const all =
    op === '.' ? [(args as readonly Node[])[0]] : Array.isArray(args) ? args.flat(2) : [args];
  return all.filter((one): one is Node => typeof one === 'object' && one !== null && 'op' in one);
}
