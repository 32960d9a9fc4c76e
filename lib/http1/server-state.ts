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

type Transitions<S> = { readonly [Event in ServerEvent]?: (state: S) => ServerState };

const FROM_ANY: { readonly [Event in ServerEvent]?: ServerState } = {
  linger: LINGERING,
  'hand-over': HANDED_OVER,
  close: CLOSED,
};

const FROM_IDLE: Transitions<Idle> = {
  'not-preface': ({ partial, blankLine }) => idle('head', partial, blankLine),
  part: ({ awaiting, blankLine }) => idle(awaiting, true, blankLine),
  'blank-line': ({ awaiting, partial }) => idle(awaiting, partial, true),
  head: () => BEGUN,
};

const FROM_BUSY: Transitions<Busy> = {
  answered: ({ handled, abortOnEnd }) => busy('sent', handled, abortOnEnd),
  'answered-last': ({ handled, abortOnEnd }) => busy('sent-last', handled, abortOnEnd),
  handled: ({ answer, abortOnEnd }) => busy(answer, true, abortOnEnd),
  'abort-on-end': ({ answer, handled }) => busy(answer, handled, true),
  skip: (state) => (isSettled(state) ? SKIPPING : state),
  next: (state) => (isSettled(state) ? AWAITING_HEAD : state),
};

/** The state after an event; the same state when the event changes nothing. */
export function next(state: ServerState, event: ServerEvent): ServerState {
  if (state.kind === 'closed' || state.kind === 'handed-over') return state;
  const end = FROM_ANY[event];
  if (end !== undefined) return end;
  if (state.kind === 'idle') return FROM_IDLE[event]?.(state) ?? state;
  if (state.kind === 'busy') return FROM_BUSY[event]?.(state) ?? state;
  return state.kind === 'skipping' && event === 'next' ? AWAITING_HEAD : state;
}

/** Whether an exchange is over: its answer is sent and its handler has settled. */
export function isSettled(state: ServerState): boolean {
  return (
    state.kind === 'skipping' || (state.kind === 'busy' && state.answer !== 'none' && state.handled)
  );
}
