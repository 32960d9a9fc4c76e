import t from 'tap';
import { next, OPEN, type End, type TaskEvent, type TaskState } from '../../lib/tasks/state.ts';

const ENDS: readonly End[] = ['completed', 'revoked', 'expired'];
const EVENTS: readonly TaskEvent[] = [...ENDS.map((kind) => ({ kind })), { kind: 'quiet' }];
const STATES: readonly TaskState[] = [
  OPEN,
  ...ENDS.map((end) => ({ kind: 'ending', end }) as const),
  ...ENDS.map((end) => ({ kind: 'ended', end }) as const),
];

const name = (state: TaskState): string =>
  state.kind === 'open' ? 'open' : `${state.kind} ${state.end}`;

/** What each event makes of each state; the rest leaves it as it is. */
const CHANGES: Readonly<Record<string, string>> = {
  'open completed': 'ending completed',
  'open revoked': 'ending revoked',
  'open expired': 'ending expired',
  'ending completed quiet': 'ended completed',
  'ending revoked quiet': 'ended revoked',
  'ending expired quiet': 'ended expired',
};

t.test('every event in every state: the first end stands, and nothing opens again', async (t) => {
  for (const state of STATES) {
    for (const event of EVENTS) {
      const wanted = CHANGES[`${name(state)} ${event.kind}`] ?? name(state);
      t.equal(name(next(state, event)), wanted, `${event.kind} in ${name(state)}`);
    }
  }
});
