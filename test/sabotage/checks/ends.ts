/** Where messages end, and that what ends them is told. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const told = (title: string): ReturnType<typeof by> =>
  by('test/exchange/refusals-told.test.ts', title);
const CLIENT = 'lib/http1/client.ts';

export const ENDS: readonly Sabotage[] = [
  sabotage(
    'a head goes out before its stream is reset',
    'lib/http2/exchange.ts',
    ['if (ended) await this.#output.ended();', 'if (ended) stream.destroy();'],
    by(
      'test/http2/streams.test.ts',
      'a head goes out before its stream is reset, also while the socket is busy',
    ),
  ),
  sabotage(
    'a call that is cut is told its status',
    'lib/forward/relay.ts',
    [
      'this.request.abort(reason, this.#trailers?.(reason, this.exchange));',
      'this.request.abort(reason);',
    ],
    told('at the end of the drain every stream is told UNAVAILABLE'),
  ),
  sabotage(
    'at the end of the drain connections are cut once they were told',
    'lib/listen/proxy.ts',
    [
      'const cancel = this.#options.clock.after(ms, resolve, true);',
      'const cancel = resolve; resolve();',
    ],
    told('at the end of the drain every stream is told UNAVAILABLE'),
  ),
  sabotage(
    'what an upstream said before it closed is read',
    'lib/http1/request-sender.ts',
    ['keepReadable(socket, this.#onUnsent);', ''],
    by(
      'test/http1/client.test.ts',
      'a final answer is delivered though the request can be sent no more',
    ),
  ),
  sabotage(
    'a reset is no end of an answer without length',
    CLIENT,
    ['this.#transport.input.broken = true;', ''],
    by(
      'test/http1/client.test.ts',
      'a reset is no end of an answer that lasts until the connection closes',
    ),
  ),
  sabotage(
    'a frame of a WebSocket that has come in part is handed on as a fragment',
    'lib/forward/websocket.ts',
    ['pass: (chunk) => frames.take(chunk),', 'pass: (chunk) => (frames.take(chunk), [chunk]),'],
    told(
      'a WebSocket that is cut by a policy that no longer allows it is told so by a Close, in mid-frame too',
    ),
  ),
  sabotage(
    'a blank before the colon of a field that frames is refused',
    'lib/http/field-lines.ts',
    [
      'if (text.charCodeAt(nameEnd) !== COLON && FRAMING.has(name))',
      'if (text.charCodeAt(nameEnd) < 0)',
    ],
    attack('framing', 'F9 answers that are framed twice or unreadably, or switch unasked'),
  ),
  sabotage(
    'a 204 that claims content is the last of its connection',
    'lib/http1/head.ts',
    ['framing !== UNTIL_CLOSE && !overstated;', 'framing !== UNTIL_CLOSE;'],
    by(
      'test/http1/head.test.ts',
      'where a response ends is decided as RFC 9112 section 6.3 has it',
    ),
  ),
  sabotage(
    'extensions of chunks are borne in answers alone',
    'lib/http1/body.ts',
    ["this.#digits > 0 && this.#owner.side === 'response')", 'this.#digits > 0)'],
    attack('framing', 'F2 chunks: extensions, signs, spaces, lengths that lie, bare LF'),
  ),
  sabotage(
    'one empty line before a request, and no more',
    'lib/http1/server.ts',
    [' && !this.#state.blankLine', ''],
    by('test/http1/server.test.ts', 'one empty line before a request is ignored, and no more'),
  ),
  sabotage(
    'a stream that was closed is not opened again',
    'lib/http2/frames.ts',
    ['if (this.#late.has(id)) return;', 'return;'],
    by(
      'test/http2/streams.test.ts',
      'a head on a stream below the last one ends the connection (RFC 9113 section 5.1.1)',
    ),
  ),
  sabotage(
    'no TLS older than 1.2 in a tunnel',
    'lib/forward/client-hello.ts',
    ['if (old === true) return', 'if (old === true && host === "") return'],
    attack('tunnels', 'A1 TLS 1.0 and 1.1 alone are offered'),
  ),
  sabotage(
    'a connection that the engine ends is recorded',
    'lib/http2/sent-frames.ts',
    ['this.#watcher.sentGoaway(bytes.readUInt32BE(at + 4));', ''],
    by(
      'test/http2/streams.test.ts',
      'a connection that is ended for an error is told of once, and answered with GOAWAY',
    ),
  ),
];
