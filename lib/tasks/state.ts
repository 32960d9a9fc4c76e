/**
 * The states of a task, pure: open -> ending -> ended. While it is ending nothing new is allowed
 * and what is under way is being cut; it has ended when nothing of it is left. The first reason
 * stands.
 */
export type End = 'completed' | 'revoked' | 'expired';

export type TaskState =
  | { readonly kind: 'open' }
  | { readonly kind: 'ending'; readonly end: End }
  | { readonly kind: 'ended'; readonly end: End };

export type TaskEvent = { readonly kind: End } | { readonly kind: 'quiet' };

export const OPEN: TaskState = Object.freeze({ kind: 'open' });

/** The state after an event; the same state when the event changes nothing. */
export function next(state: TaskState, event: TaskEvent): TaskState {
  switch (state.kind) {
    case 'open':
      return event.kind === 'quiet' ? state : Object.freeze({ kind: 'ending', end: event.kind });
    case 'ending':
      return event.kind === 'quiet' ? Object.freeze({ kind: 'ended', end: state.end }) : state;
    case 'ended':
      return state;
  }
}
