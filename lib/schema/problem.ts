/**
 * What is wrong in the documents: every problem is collected with its place and its fix, so that
 * one run names them all.
 */
import { Fault, type Code } from '../base/fault.ts';

/**
 * Line and column count from 1, columns in UTF-16 units, as editors do. Line 0 is the file itself.
 */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface Problem {
  readonly at: Place;
  /** Key path such as `spec.tls.mode`, or ''. */
  readonly path: string;
  readonly message: string;
  /** What to do about it. */
  readonly fix: string;
}

/** Past so many nobody reads on; the rest is counted. */
export const MAX_SHOWN = 100;

export interface Problems {
  add(problem: Problem): void;
  readonly size: number;
  /** A Fault that lists all of them by file and position; undefined when there are none. */
  fault(code?: Code): Fault | undefined;
}

export function problems(): Problems {
  const list: Problem[] = [];
  return {
    add: (problem) => void list.push(problem),
    get size() {
      return list.length;
    },
    fault(code = 'config') {
      if (list.length === 0) return undefined;
      const ordered = [...list].sort(byPlace);
      const shown = ordered.slice(0, MAX_SHOWN).map(problemLine);
      const rest = list.length > MAX_SHOWN ? [`and ${list.length - MAX_SHOWN} more`] : [];
      return new Fault(code, [...new Set(shown), ...rest].join('\n'), {
        cause: new Listed(ordered),
      });
    },
  };
}

/** The problems that a Fault lists, for whoever wants them one by one. */
class Listed {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    this.problems = problems;
  }
}

/** The problems of a Fault that came of `Problems`, by file and position; none of any other. */
export function problemsOf({ cause }: Fault): readonly Problem[] {
  return cause instanceof Listed ? cause.problems : [];
}

export function wholeFile(file: string): Place {
  return { file, line: 0, column: 0 };
}

export function placeText({ file, line, column }: Place): string {
  return line === 0 ? `${file}:` : `${file}:${line}:${column}`;
}

/** `file:line:column path: message; fix` */
function problemLine({ at, path, message, fix }: Problem): string {
  return (
    `${placeText(at)} ` +
    `${path === '' ? '' : `${path}: `}${message}${fix === '' ? '' : `; ${fix}`}`
  );
}

function byPlace({ at: a }: Problem, { at: b }: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}
