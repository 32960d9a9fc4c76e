/** The access matrix as a whole, for the reference page and for tests. */
import type { MatrixRow } from '../model/access-matrix.ts';
import { PROTOCOLS, type Protocol } from './index.ts';

export interface SharedRow extends MatrixRow {
  readonly protocols: readonly Protocol[];
}

/** Each row once, with the protocols that have it, by entry point. */
export const MATRIX: readonly SharedRow[] = Object.freeze(shared());

function shared(): SharedRow[] {
  const rows = Object.values(PROTOCOLS).flatMap(({ name, entries }) =>
    entries.map((row) => ({ row, name })),
  );
  const all = Array.from(
    Map.groupBy(rows, ({ row }) => row),
    ([row, users]) => Object.freeze({ ...row, protocols: users.map(({ name }) => name) }),
  );
  return [...Map.groupBy(all, ({ entry }) => entry).values()].flat();
}
