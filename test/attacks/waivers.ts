/** Rows that are not owed at an entry point although it has what they bend, each with its reason; and outcomes of the access matrix that have no entry point here. */

export interface Waiver {
  readonly row: string;
  /** Default every entry point. */
  readonly entry?: string;
  readonly why: string;
}

export const WAIVERS: readonly Waiver[] = Object.freeze([
  {
    row: 'T8',
    why: 'that the network has no other way out is proved where the network is: deploy/kubernetes and its tests',
  },
  { row: 'R6', why: 'the log has no chain yet that could be broken' },
]);

/** Rows that no entry point has a facet for: what they attack is not built. */
export const NOT_BUILT: readonly Waiver[] = Object.freeze([
  {
    row: 'A2',
    why: 'there is no TLS interception yet: a tunnel to a destination whose requests are judged is refused (T1)',
  },
  { row: 'F6', why: 'HTTP/2 is not spoken yet: it is refused (T5)' },
  { row: 'T6', why: 'there is no TLS interception yet' },
  { row: 'T7', why: 'there is no TLS interception yet' },
]);

/** Outcomes of the access matrix that the corpus does not come in by. */
export const NOT_ENTERED: readonly string[] = Object.freeze(['connect: intercepted', 'intercept: request']);
