import t from 'tap';

import {
  AWAITING_HEAD,
  AWAITING_PREFACE,
  type ServerEvent,
  type ServerState,
  isSettled,
  next,
} from '../../lib/http1/server-state.ts';

const after = (state: ServerState, ...events: readonly ServerEvent[]): ServerState =>
  events.reduce(next, state);

const BUSY = after(AWAITING_HEAD, 'head');
const SETTLED = after(BUSY, 'answered', 'handled');
const CHANGES: readonly (readonly [string, ServerState, ServerEvent, Partial<ServerState>])[] = [
  ['no preface', AWAITING_PREFACE, 'not-preface', { kind: 'idle', awaiting: 'head' }],
  ['part of a preface', AWAITING_PREFACE, 'part', { awaiting: 'preface', partial: true }],
  ['a preface', AWAITING_PREFACE, 'hand-over', { kind: 'handed-over' }],
  ['part of a head', AWAITING_HEAD, 'part', { awaiting: 'head', partial: true }],
  ['an empty line', AWAITING_HEAD, 'blank-line', { blankLine: true, partial: false }],
  ['a head', AWAITING_HEAD, 'head', { answer: 'none', handled: false, abortOnEnd: false }],
  ['a bad head', AWAITING_HEAD, 'linger', { kind: 'lingering' }],
  ['an answer', BUSY, 'answered', { answer: 'sent', handled: false }],
  ['a last answer', BUSY, 'answered-last', { answer: 'sent-last', handled: false }],
  ['a handler that settles first', BUSY, 'handled', { answer: 'none', handled: true }],
  ['a half-close that matters', BUSY, 'abort-on-end', { abortOnEnd: true, answer: 'none' }],
  ['an upgrade', BUSY, 'hand-over', { kind: 'handed-over' }],
  ['an exchange that is over', SETTLED, 'next', AWAITING_HEAD],
  ['a body that is left', SETTLED, 'skip', { kind: 'skipping' }],
  ['the rest of a body', after(SETTLED, 'skip'), 'next', AWAITING_HEAD],
  ['a last exchange', SETTLED, 'linger', { kind: 'lingering' }],
  ['a reset', BUSY, 'close', { kind: 'closed' }],
];

t.test('a connection from a client goes from state to state', async (t) => {
  for (const [title, state, event, expected] of CHANGES)
    t.match(next(state, event), expected, title);
});

t.test('what a head began is forgotten with the next one', async (t) => {
  const begun = after(AWAITING_PREFACE, 'part', 'not-preface', 'blank-line');
  t.match(begun, { awaiting: 'head', partial: true, blankLine: true });
  t.equal(after(begun, 'head'), BUSY);
  t.equal(after(begun, 'head', 'abort-on-end', 'handled', 'answered', 'next'), AWAITING_HEAD);
});

t.test('an exchange is over when it is answered and its handler has settled', async (t) => {
  t.notOk(isSettled(AWAITING_HEAD));
  t.notOk(isSettled(after(BUSY, 'answered')));
  t.notOk(isSettled(after(BUSY, 'handled')));
  t.ok(isSettled(after(BUSY, 'handled', 'answered')));
  t.ok(isSettled(after(BUSY, 'answered-last', 'handled')));
  t.equal(after(BUSY, 'answered', 'next'), after(BUSY, 'answered'), 'not before');
  t.equal(after(BUSY, 'handled', 'skip'), after(BUSY, 'handled'), 'nor is its body skipped');
});

t.test('nothing leads out of a connection that is closed or handed over', async (t) => {
  const events = CHANGES.map(([, , event]) => event);
  for (const end of [after(BUSY, 'close'), after(BUSY, 'hand-over')])
    for (const event of events) t.equal(next(end, event), end, `${end.kind}, ${event}`);
});

t.test('a lingering connection takes no request', async (t) => {
  const lingering = after(BUSY, 'linger');
  for (const event of ['head', 'answered', 'handled', 'skip', 'next', 'linger'] as const)
    t.equal(next(lingering, event), lingering, event);
});

t.test('states are values made once', async (t) => {
  t.equal(after(SETTLED, 'next', 'head', 'answered', 'handled'), SETTLED);
  t.ok([AWAITING_PREFACE, AWAITING_HEAD, BUSY, SETTLED].every(Object.isFrozen));
});
