/** One finding of check. */

export interface CheckFinding {
  /** An error is what keeps the configuration from being loaded, or with `--strict` a warning. */
  readonly level: 'error' | 'warning' | 'note';
  /** Stable name of its kind: `config`, or one of those that docs/policy.md explains. */
  readonly code: string;
  /** Line and column count from 1; they are left out where the whole file is meant. */
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  /** Key path, or what it is about. */
  readonly about: string;
  readonly message: string;
  readonly fix: string;
}
