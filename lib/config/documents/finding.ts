/** What a check of a document finds, and how checks are written. */
import type { Step } from '../../schema/tree.ts';

export interface Finding {
  /** From the root of the document; the deepest node that is there is shown. */
  readonly steps: readonly Step[];
  readonly message: string;
  readonly fix: string;
}

/** A rule over several keys of one document. */
export interface CheckOf<Spec> {
  readonly name: string;
  /** The rule, for the reference page. */
  readonly doc: string;
  find(spec: Spec): readonly Finding[];
}

export const at = (...steps: readonly Step[]): readonly Step[] => ['spec', ...steps];
/** The finding where it is wrong. */
export const when = (
  wrong: boolean,
  steps: readonly Step[],
  message: string,
  fix: string,
): readonly Finding[] => (wrong ? [{ steps, message, fix }] : []);
