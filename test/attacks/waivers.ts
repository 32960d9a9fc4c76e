/**
 * Rows that are not owed at an entry point although it has what they bend, each with its reason;
 * and outcomes of the access matrix that have no entry point here.
 */

export interface Waiver {
  readonly row: string;
  /** Default every entry point. */
  readonly entry?: string;
  readonly why: string;
}

export const WAIVERS: readonly Waiver[] = Object.freeze([
  {
    row: 'T8',
    why:
      'that the network has no other way out is proved where the network is: ' +
      'deploy/kubernetes and its tests',
  },
  {
    row: '3.1',
    entry: 'intercepted',
    why: 'a tunnel to what is refused is refused itself, before anything is inside',
  },
  { row: '3.1', entry: 'intercepted, HTTP/2', why: 'the same' },
  { row: '3.1', entry: 'intercepted, WebSocket', why: 'the same' },
  { row: '3.1', entry: 'CONNECT, cleartext', why: 'the same' },
  { row: '3.1', entry: 'CONNECT, cleartext HTTP/2', why: 'the same' },
  { row: '3.1', entry: 'CONNECT, cleartext WebSocket', why: 'the same' },
  {
    row: '3.1',
    entry: 'listener',
    why: 'no destination of requests is refused at a listener of its own',
  },
  { row: '3.1', entry: 'listener, WebSocket', why: 'the same' },
  { row: '3.1', entry: 'listener, HTTP/2', why: 'the same' },
  { row: 'R6', why: 'the log has no chain yet that could be broken' },
]);

/** Rows that no entry point has a facet for: what they attack is not built. */
export const NOT_BUILT: readonly Waiver[] = Object.freeze([]);

/** Outcomes of the access matrix that the corpus does not come in by. */
export const NOT_ENTERED: readonly string[] = Object.freeze([]);
