/**
 * A stream of events (WHATWG HTML section 9.2) on its way to the agent. Where `idle`, `total` or
 * the end of the sidecar ends it, it is ended in order, between two events: its clients ask anew
 * where they were, and log no error. In the middle of an event, and for every other reason, it is
 * cut.
 */
import type { Clock } from '../base/clock.ts';
import type { Code, Fault } from '../base/fault.ts';
import { fieldOf, type Body, type Fields } from '../http/message.ts';
import type { Exchange } from '../exchange/exchange.ts';

export interface EventStreamOptions {
  readonly exchange: Exchange;
  /** A comment is sent where nothing came for so many milliseconds; undefined: none is. */
  readonly comments: number | undefined;
  readonly clock: Clock;
}

const COMMENT = Buffer.from(':\n\n');
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/** Two line ends, of which each is CRLF, LF or CR. */
const BOUNDARY = /(?:\n\n|\r\r|\n\r|\n\r\n|\r\r\n)$/;
const TAIL = 4;

const IN_ORDER: ReadonlySet<Code> = new Set<Code>(['timeout', 'shutting-down']);

/** True if an answer with these fields is a stream of events that can be read here. */
export function isEventStream(fields: Fields): boolean {
  const type = fieldOf(fields, 'content-type');
  if (type === undefined || !/^text\/event-stream[\t ]*(?:;|$)/i.test(type)) return false;
  return /^(?:identity)?$/i.test(fieldOf(fields, 'content-encoding') ?? '');
}

export class EventStream implements Body {
  readonly length = undefined;
  readonly #body: Body;
  readonly #options: EventStreamOptions;
  /** The last bytes that came. */
  #tail = '';
  #begun = false;
  #ended = false;
  #commented = false;
  /** A comment is due. */
  #due = false;
  #wake: (() => void) | undefined;
  /** A wait that a comment cut short goes on. */
  #waiting: Promise<void> | undefined;

  constructor(body: Body, options: EventStreamOptions) {
    this.#body = body;
    this.#options = options;
  }

  /** Ends it in order, if that can be told now. The upstream is not asked any more. */
  end(reason: Fault): boolean {
    const told = IN_ORDER.has(reason.code) && this.#wake !== undefined && this.#between;
    if (!told) return false;
    this.#ended = true;
    this.#options.exchange.inOrder = true;
    this.#body.cancel(reason);
    this.#wake?.();
    return true;
  }

  poll(): Buffer | 'end' | 'later' {
    if (this.#ended) return 'end';
    const piece = this.#body.poll();
    if (piece === 'later' && this.#due) {
      this.#due = false;
      this.#commented ||= !this.#begun;
      return COMMENT;
    }
    if (piece === 'later' || piece === 'end') return piece;
    this.#due = false;
    this.#tail = (this.#tail + piece.toString('latin1', piece.length - TAIL)).slice(-TAIL);
    return this.#first(piece);
  }

  async ready(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    this.#waiting ??= this.#body.ready().finally(() => (this.#waiting = undefined));
    const { comments, clock } = this.#options;
    const cancel = comments === undefined ? undefined : clock.after(comments, this.#comment);
    try {
      await Promise.race([this.#waiting, promise]);
    } catch (failure) {
      if (!this.#ended) throw failure;
    } finally {
      this.#wake = undefined;
      cancel?.();
    }
  }

  trailers(): Fields {
    return this.#ended ? [] : this.#body.trailers();
  }

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }

  get #between(): boolean {
    return !this.#begun || BOUNDARY.test(this.#tail);
  }

  /** A byte order mark is one at the very begin alone, and a comment of ours may stand there. */
  #first(piece: Buffer): Buffer {
    const marked = !this.#begun && this.#commented && piece.subarray(0, BOM.length).equals(BOM);
    this.#begun = true;
    return marked ? piece.subarray(BOM.length) : piece;
  }

  readonly #comment = (): void => {
    if (!this.#between) return;
    this.#due = true;
    this.#wake?.();
  };
}
