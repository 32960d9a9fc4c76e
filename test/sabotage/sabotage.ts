/**
 * A security check and how to break it: the text that makes it, what it becomes, and the tests that
 * must then be red. A list of them lies in checks/, one file an area.
 */

export interface Proof {
  /** A test file. */
  readonly file: string;
  /** The sentence of a test in it; for the attack corpus, row and title. */
  readonly title: string;
}

export interface Sabotage {
  /** The check, in words. */
  readonly check: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** Tests of which at least one must turn red. */
  readonly proofs: readonly Proof[];
}

/** A sabotage of `file`, found by the named test. */
export function sabotage(
  check: string,
  file: string,
  change: readonly [find: string, replace: string],
  ...proofs: readonly Proof[]
): Sabotage {
  const [find, replace] = change;
  return Object.freeze({ check, file, find, replace, proofs });
}

export const by = (file: string, title: string): Proof => ({ file, title });
/** A case of the attack corpus, in the test of its section. */
export const attack = (section: string, title: string): Proof => ({
  file: `test/attacks/${section}.test.ts`,
  title,
});
