/** Connections to upstreams and what is sent on them again; times and limits of exchanges. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

export const UPSTREAMS: readonly Sabotage[] = [
  sabotage(
    'a request that must not be sent twice does not meet the close of its connection',
    'lib/http1/pool.ts',
    ["return !once || closing.state === 'stays';", 'return closing !== undefined || once;'],
    by(
      'test/upstream/reuse.test.ts',
      'a request that must not be sent twice takes a new connection where the server may close the old one',
    ),
  ),
  sabotage(
    'a server that closed a connection unannounced is not trusted to keep the others',
    'lib/http1/reuse.ts',
    ["known.state = 'closes';", ''],
    by(
      'test/upstream/reuse.test.ts',
      'a request that must not be sent twice takes a new connection where the server may close the old one',
    ),
  ),
  sabotage(
    'no request goes over a connection past the time that its server announced',
    'lib/http1/keep-alive.ts',
    ['this.#announcedMs = said.ms;', ''],
    by(
      'test/upstream/reuse.test.ts',
      'past the time that a server announces its connection is not used again',
    ),
  ),
  sabotage(
    'a body that the client may never send is not waited for',
    'lib/http1/exchange.ts',
    ['return this.head.expectContinue || !(', 'return !('],
    by(
      'test/exchange/denials.test.ts',
      'what was not understood, or is not read whole, ends the connection',
    ),
  ),
  sabotage(
    'a stream of events is ended in order between two events alone',
    'lib/forward/event-stream.ts',
    [
      'return !this.#begun || BOUNDARY.test(this.#tail);',
      'return !this.#begun || this.#tail.length > 0;',
    ],
    by(
      'test/forward/event-streams.test.ts',
      'everything else cuts: half an event, another reason, another type, a coding, a length',
    ),
  ),
  sabotage(
    'what a policy or a revocation ends never looks like an end',
    'lib/forward/event-stream.ts',
    ['IN_ORDER.has(reason.code) && this.#wake', 'this.#wake'],
    by(
      'test/forward/event-streams.test.ts',
      'everything else cuts: half an event, another reason, another type, a coding, a length',
    ),
  ),
];
