/**
 * YAML text to trees. YAML 1.2, core schema, and of that the part that has one meaning: what other
 * readers of YAML take for something else (`yes`, merge keys, tags, directives, duplicate keys) and
 * what can blow a small text up (aliases within aliases) is refused, with its place and its fix.
 */
import {
  Composer,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  Parser,
  type Document,
} from 'yaml';
import { Fault } from '../base/fault.ts';
import type { Place, Problems } from './problem.ts';
import type { Entry, Scalar, Tree } from './tree.ts';

/**
 * Bytes of one file; nesting; aliases in one document; nodes that aliases may stand for in one
 * document.
 */
export const YAML_LIMITS = Object.freeze({
  bytes: 16 * 1024 * 1024,
  depth: 32,
  aliases: 32,
  aliasedNodes: 10_000,
});

/**
 * The documents of a file that could be read; what could not is among the problems. Throws nothing.
 */
export function parseYaml(file: string, text: string, problems: Problems): readonly Tree[] {
  return [...readYaml(file, text, problems)];
}

/** The same, one document at a time. */
export function* readYaml(file: string, text: string, problems: Problems): Generator<Tree, void> {
  const lines = new LineCounter();
  const reader = new Reader(file, lines, problems);
  if (text.startsWith('\ufeff'))
    reader.problem(0, 'the file begins with a byte order mark', 'save it as UTF-8 without BOM');
  try {
    for (const document of documentsIn(text, lines)) {
      const tree = reader.document(document);
      if (tree !== undefined) yield tree;
    }
  } catch (failure) {
    // The parser recurses; what exhausts the stack is no configuration.
    const { message } = Fault.from(failure, 'config');
    reader.problem(0, `the file cannot be read as YAML: ${message}`, 'nest less');
  }
}

function documentsIn(text: string, lineCounter: LineCounter): Iterable<Document> {
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    merge: false,
    strict: true,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'silent',
    lineCounter,
  });
  return composer.compose(new Parser(lineCounter.addNewLine).parse(text));
}

/** Syntax errors whose fix is not in their words. */
const FIXES: Readonly<Record<string, string>> = Object.freeze({
  TAB_AS_INDENT: 'indent with spaces',
  BAD_SCALAR_START: 'put the value in quotes',
  MISSING_CHAR: 'close what was opened',
  BLOCK_AS_IMPLICIT_KEY: 'put a value that holds a colon in quotes',
});

class Reader {
  readonly #file: string;
  readonly #lines: LineCounter;
  readonly #problems: Problems;
  #anchors = new Map<string, unknown>();
  #aliases = 0;
  #aliased = 0;
  /** Aliases that are being followed. */
  #following: readonly string[] = [];
  #failed = false;

  constructor(file: string, lines: LineCounter, problems: Problems) {
    this.#file = file;
    this.#lines = lines;
    this.#problems = problems;
  }

  problem(offset: number, message: string, fix: string): void {
    this.#failed = true;
    this.#problems.add({ at: this.#place(offset), path: '', message, fix });
  }

  /** undefined: empty, or refused. */
  document(document: Document): Tree | undefined {
    for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
      this.problem(
        pos[0],
        message.replace(/\s+/g, ' '),
        FIXES[code] ?? 'see the YAML 1.2 specification',
      );
    }
    const { explicit } = document.directives?.yaml ?? {};
    const start = document.range?.[0] ?? 0;
    if (explicit === true)
      this.problem(start, 'the file has a %YAML directive', 'remove it: documents are YAML 1.2');
    if (document.errors.length > 0 || document.warnings.length > 0) return undefined;
    const { contents } = document;
    if (contents === null || (isScalar(contents) && contents.value === null)) return undefined;
    this.#anchors = new Map();
    this.#aliases = 0;
    this.#aliased = 0;
    this.#failed = false;
    const tree = this.#node(contents, start, 0);
    return this.#failed ? undefined : tree;
  }

  #place(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.#file, line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  #node(node: unknown, near: number, depth: number): Tree {
    if (isAlias(node)) return this.#alias(node, node.range?.[0] ?? near, depth);
    if (!isMap(node) && !isSeq(node) && !isScalar(node)) return this.#empty(near);
    const offset = node.range?.[0] ?? near;
    if (this.#following.length > 0 && (this.#aliased += 1) > YAML_LIMITS.aliasedNodes) {
      if (this.#aliased === YAML_LIMITS.aliasedNodes + 1) {
        this.problem(
          offset,
          `aliases stand for more than ${YAML_LIMITS.aliasedNodes} values`,
          'write the values out',
        );
      }
      return this.#empty(offset);
    }
    if (depth > YAML_LIMITS.depth) {
      this.problem(offset, `values are nested deeper than ${YAML_LIMITS.depth}`, 'nest less');
      return this.#empty(offset);
    }
    if (node.tag !== undefined)
      this.problem(
        offset,
        `the value has the tag ${node.tag}`,
        'remove the tag, quote text instead',
      );
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, undefined);
    const tree = this.#plain(node, offset, depth);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    return tree;
  }

  #plain(node: unknown, offset: number, depth: number): Tree {
    const at = this.#place(offset);
    if (isMap(node)) return { kind: 'map', at, entries: this.#entries(node.items, offset, depth) };
    if (isSeq(node))
      return {
        kind: 'list',
        at,
        items: node.items.map((item) => this.#node(item, offset, depth + 1)),
      };
    if (!isScalar(node)) return this.#empty(offset);
    const plain = node.type === 'PLAIN' ? (node.source ?? '') : undefined;
    return { kind: 'scalar', at, value: scalarOf(node.value), plain };
  }

  #entries(
    pairs: readonly { key: unknown; value: unknown }[],
    near: number,
    depth: number,
  ): ReadonlyMap<string, Entry> {
    const entries = new Map<string, Entry>();
    for (const { key: node, value } of pairs) {
      const offset = isScalar(node) ? (node.range?.[0] ?? near) : near;
      const key = isScalar(node) && typeof node.value === 'string' ? node.value : undefined;
      if (key === undefined)
        this.problem(
          offset,
          'a key is not text',
          'keys are names; quote a number if it is meant as one',
        );
      else if (key === '<<')
        this.problem(offset, 'merge keys (<<) are not used here', 'write the keys out');
      else if (entries.has(key))
        this.problem(offset, `the key ${key} is there twice (${lineOf(entries, key)})`, 'keep one');
      else
        entries.set(key, {
          key,
          keyAt: this.#place(offset),
          value: this.#node(value, offset, depth + 1),
        });
      if (isScalar(node) && node.tag !== undefined)
        this.problem(offset, `a key has the tag ${node.tag}`, 'remove the tag');
    }
    return entries;
  }

  #alias({ source }: { source: string }, offset: number, depth: number): Tree {
    this.#aliases += 1;
    if (this.#aliases === YAML_LIMITS.aliases + 1) {
      this.problem(
        offset,
        `there are more than ${YAML_LIMITS.aliases} aliases`,
        'write the values out',
      );
    }
    if (this.#aliases > YAML_LIMITS.aliases) return this.#empty(offset);
    const target = this.#anchors.get(source);
    if (target === undefined) {
      const inside = this.#anchors.has(source);
      this.problem(
        offset,
        inside ? `*${source} is inside &${source}` : `there is no &${source} before *${source}`,
        'write the value out',
      );
      return this.#empty(offset);
    }
    const outer = this.#following;
    this.#following = [...outer, source];
    const tree = this.#node(target, offset, depth);
    this.#following = outer;
    return tree;
  }

  #empty(offset: number): Tree {
    return { kind: 'scalar', at: this.#place(offset), value: null, plain: '' };
  }
}

function lineOf(entries: ReadonlyMap<string, Entry>, key: string): string {
  return `line ${entries.get(key)?.keyAt.line ?? '?'}`;
}

function scalarOf(value: unknown): Scalar {
  if (
    value === null ||
    typeof value === 'string' ||
    typeof value === 'number' ||
    typeof value === 'boolean'
  )
    return value;
  return JSON.stringify(value) ?? null;
}
