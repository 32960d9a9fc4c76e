/**
 * The states of a connection from a client, pure. Every state is a frozen value made once, so that
 * a request allocates none.
 *
 *   idle ──head──► busy ──answered and handled──► idle | skipping | lingering
 *   idle ──bad head, time out──► lingering        skipping ──rest of the body──► idle
 *   busy ──upgrade──► handed-over                 any ──reset, time out──► closed
 */
interface Idle {
  readonly kind: 'idle';
  /** The preface of HTTP/2 is looked for at the begin of a connection alone. */
  readonly awaiting: 'preface' | 'head';
  /** Part of a head was received, and its time runs. */
  readonly partial: boolean;
  /** The one empty line that is ignored has come. */
  readonly blankLine: boolean;
}

interface Busy {
  readonly kind: 'busy';
  readonly answer: 'none' | 'sent' | 'sent-last';
  /** The handler has settled. */
  readonly handled: boolean;
  /** The end of the client's side aborts the exchange. */
  readonly abortOnEnd: boolean;
}

export type ServerState =
  | Idle
  | Busy
  /** The exchange is over, and the rest of the request's body is discarded. */
  | { readonly kind: 'skipping' }
  /** Our side is ended, and what still comes is discarded. */
  | { readonly kind: 'lingering' }
  | { readonly kind: 'handed-over' }
  | { readonly kind: 'closed' };

export type ServerEvent =
  | 'not-preface'
  | 'part'
  | 'blank-line'
  | 'head'
  | 'answered'
  | 'answered-last'
  | 'handled'
  | 'abort-on-end'
  | 'skip'
  | 'next'
  | 'linger'
  | 'hand-over'
  | 'close';

const BOTH = [false, true] as const;

const IDLE: readonly Idle[] = (['preface', 'head'] as const).flatMap((awaiting) =>
  BOTH.flatMap((partial) =>
    BOTH.map((blankLine) => Object.freeze({ kind: 'idle', awaiting, partial, blankLine })),
  ),
);

const BUSY: readonly Busy[] = (['none', 'sent', 'sent-last'] as const).flatMap((answer) =>
  BOTH.flatMap((handled) =>
    BOTH.map((abortOnEnd) => Object.freeze({ kind: 'busy', answer, handled, abortOnEnd })),
  ),
);

function idle(awaiting: Idle['awaiting'], partial: boolean, blankLine: boolean): Idle {
  const index = (awaiting === 'head' ? 4 : 0) + (partial ? 2 : 0) + (blankLine ? 1 : 0);
  return IDLE[index] as Idle;
}

function busy(answer: Busy['answer'], handled: boolean, abortOnEnd: boolean): Busy {
  const row = answer === 'none' ? 0 : answer === 'sent' ? 4 : 8;
  return BUSY[row + (handled ? 2 : 0) + (abortOnEnd ? 1 : 0)] as Busy;
}

export const AWAITING_PREFACE: ServerState = idle('preface', false, false);
export const AWAITING_HEAD: ServerState = idle('head', false, false);
const BEGUN = busy('none', false, false);
const SKIPPING: ServerState = Object.freeze({ kind: 'skipping' });
const LINGERING: ServerState = Object.freeze({ kind: 'lingering' });
const HANDED_OVER: ServerState = Object.freeze({ kind: 'handed-over' });
const CLOSED: ServerState = Object.freeze({ kind: 'closed' });

/** The state after an event; the same state when the event changes nothing. */
export function next(state: ServerState, event: ServerEvent): ServerState {
  if (state.kind === 'closed' || state.kind === 'handed-over') return state;
  switch (event) {
    case 'close':
      return CLOSED;
    case 'hand-over':
      return HANDED_OVER;
    case 'linger':
      return LINGERING;
    default:
  }
  if (state.kind === 'idle') return fromIdle(state, event);
  if (state.kind === 'busy') return fromBusy(state, event);
  return state.kind === 'skipping' && event === 'next' ? AWAITING_HEAD : state;
}

function fromIdle(state: Idle, event: ServerEvent): ServerState {
  switch (event) {
    case 'not-preface':
      return idle('head', state.partial, state.blankLine);
    case 'part':
      return idle(state.awaiting, true, state.blankLine);
    case 'blank-line':
      return idle(state.awaiting, state.partial, true);
    case 'head':
      return BEGUN;
    default:
      return state;
  }
}

function fromBusy(state: Busy, event: ServerEvent): ServerState {
  switch (event) {
    case 'answered':
      return busy('sent', state.handled, state.abortOnEnd);
    case 'answered-last':
      return busy('sent-last', state.handled, state.abortOnEnd);
    case 'handled':
      return busy(state.answer, true, state.abortOnEnd);
    case 'abort-on-end':
      return busy(state.answer, state.handled, true);
    case 'skip':
      return isSettled(state) ? SKIPPING : state;
    case 'next':
      return isSettled(state) ? AWAITING_HEAD : state;
    default:
      return state;
  }
}

/** Whether an exchange is over: its answer is sent and its handler has settled. */
export function isSettled(state: ServerState): boolean {
  return (
    state.kind === 'skipping' || (state.kind === 'busy' && state.answer !== 'none' && state.handled)
  );
}
