/** HTTP/2 on both sides, and gRPC. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const HEADS = by(
  'test/http2/server.test.ts',
  'F6, H9: heads that do not translate are refused one by one',
);
const FLOODS = by(
  'test/http2/server.test.ts',
  'R2, H9: floods end the connection with ENHANCE_YOUR_CALM and one record',
);
const NO_CALL = by(
  'test/forward/grpc.test.ts',
  'what is no call is refused, and not one byte upstream',
);

const ENDS = by(
  'test/http2/ends.test.ts',
  'an answer is complete with END_STREAM, whatever comes after it, and never without',
);

export const HTTP2: readonly Sabotage[] = [
  sabotage(
    'over HTTP/2, a reset is no end of an answer',
    'lib/http2/request.ts',
    ['if (chunk === null && !stream.closed && !stream.destroyed) {', 'if (chunk === null) {'],
    ENDS,
  ),
  sabotage(
    'over HTTP/2, a reset is no end of a request',
    'lib/http2/exchange.ts',
    ['ended: () => seen.ended,', 'ended: () => true,'],
    by('test/http2/streams.test.ts', 'a request is complete with END_STREAM and not with a reset'),
  ),
  sabotage(
    'over HTTP/2, HEAD has no body',
    'lib/http2/head.ts',
    ["if (method === 'HEAD' || method === 'TRACE') throw", "if (method === '') throw"],
    HEADS,
  ),
  sabotage(
    'over HTTP/2, the scheme is that of the connection',
    'lib/http2/head.ts',
    ['if (parts.scheme !== scheme) throw', "if (parts.scheme === '') throw"],
    HEADS,
  ),
  sabotage(
    'streams that a client resets are bounded (rapid reset)',
    'lib/http2/frames.ts',
    ['if (!this.#resets.take()) throw', 'if (!this.#resets.take() && type < 0) throw'],
    FLOODS,
  ),
  sabotage(
    'frames without content are bounded',
    'lib/http2/frames.ts',
    ['if (!this.#idle.take()) throw', 'if (!this.#idle.take() && type < 0) throw'],
    FLOODS,
  ),
  sabotage(
    'the frames of a header block are bounded (CONTINUATION flood)',
    'lib/http2/frames.ts',
    ['if (this.#blockFrames > this.#limits.blockFrames) throw', 'if (this.#blockFrames < 0) throw'],
    FLOODS,
  ),
  sabotage(
    'over HTTP/2, a cut looks cut',
    'lib/http2/exchange.ts',
    ['this.#stream.destroy(reason);', 'this.#stream.close(0);'],
    by(
      'test/forward/http2.test.ts',
      'a policy that no longer allows it resets an open stream; others of the connection go on',
    ),
  ),
  sabotage(
    'an upstream of HTTP/2 chooses it by ALPN',
    'lib/upstream/dial.ts',
    ["socket.alpnProtocol !== 'h2'", "socket.alpnProtocol === 'h3'"],
    by(
      'test/forward/http2-upstream.test.ts',
      'an upstream that does not choose h2 gets not one byte of a request',
    ),
  ),
  sabotage(
    'what an upstream may have processed is not sent again',
    'lib/http2/request.ts',
    ['rstCode === constants.NGHTTP2_REFUSED_STREAM', 'rstCode !== 0'],
    by(
      'test/forward/http2-upstream.test.ts',
      'a request that the upstream did not process is sent again, with its body; one that it may have is not',
    ),
  ),
  sabotage(
    'a retired connection of HTTP/2 is closed',
    'lib/http2/sessions.ts',
    ['for (const { session } of slot.members) session.close();', ''],
    by(
      'test/forward/http2-upstream.test.ts',
      'a reload retires only connections whose settings changed, a connection has an age',
    ),
  ),
  sabotage(
    'rules of gRPC name services exactly',
    'lib/policy/protocols/grpc-rules.ts',
    ['(services?.has(call.service) ?? true) &&', ''],
    by(
      'test/policy/grpc.test.ts',
      'rules name services and methods, exactly; deny first, nothing matched is denied',
    ),
  ),
  sabotage(
    'a gRPC destination takes calls alone',
    'lib/policy/protocols/grpc.ts',
    ['if (grpc === undefined)', "if (http.method === '')"],
    by(
      'test/policy/grpc.test.ts',
      'rules name services and methods, exactly; deny first, nothing matched is denied',
    ),
  ),
  sabotage(
    'a call has the content type of gRPC',
    'lib/forward/grpc.ts',
    ['if (!speaksGrpc(request)) {', "if (request.head.method === '') {"],
    NO_CALL,
  ),
  sabotage(
    'grpc-timeout ends a call',
    'lib/forward/grpc.ts',
    ['exchange.setClientDeadline(described.timeout);', 'exchange.throwIfAborted();'],
    by(
      'test/forward/grpc.test.ts',
      'grpc-timeout bounds the call: DEADLINE_EXCEEDED before and after the answer began, and the upstream is told',
    ),
  ),
  sabotage(
    'a request is sent again a bounded number of times, over all reasons',
    'lib/forward/replay.ts',
    ['if (this.#made >= MAX_ATTEMPTS) return false;', ''],
    by('test/forward/repeats.test.ts', 'the bound is over all reasons together'),
  ),
  sabotage(
    'CANCEL repeats a request once',
    'lib/forward/replay.ts',
    ['if (fresh || this.#guessed || !isUntouched(failure))', 'if (fresh || !isUntouched(failure))'],
    by(
      'test/forward/repeats.test.ts',
      'CANCEL repeats an idempotent request without a body once, and no other',
    ),
  ),
  sabotage(
    'what may have been done is not sent again',
    'lib/forward/replay.ts',
    [
      'return body === undefined && IDEMPOTENT.has(method);',
      'return IDEMPOTENT.has(method) || body === undefined;',
    ],
    by(
      'test/forward/repeats.test.ts',
      'CANCEL repeats an idempotent request without a body once, and no other',
    ),
  ),
  sabotage(
    'nothing is sent again for an agent that has gone',
    'lib/forward/send.ts',
    [
      'over === undefined && !request.connection.gone && attempts.again',
      'over === undefined && attempts.again',
    ],
    by(
      'test/forward/repeats.test.ts',
      'nothing is sent again for an agent that has gone, by either way of going',
    ),
  ),
  sabotage(
    'interim answers do not give an upstream more time',
    'lib/exchange/exchange.ts',
    ['if (this.sent !== this.#headProgress)', 'if (this.#moved() !== this.#progress)'],
    by(
      'test/forward/repeats.test.ts',
      'timeouts.headers counts all attempts and interim answers together',
    ),
  ),
  sabotage(
    'what began to answer is not asked again',
    'lib/http2/request.ts',
    ['this.#why(waiting && this.#informs === 0)', 'this.#why(waiting)'],
    by(
      'test/forward/repeats.test.ts',
      'an interim answer is a part of an answer: nothing behind it is sent again',
    ),
  ),
];
