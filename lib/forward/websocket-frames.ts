/**
 * The frames of a WebSocket server on their way to its client (RFC 6455 section 5.2). What is
 * handed on always ends with a whole frame, so that a Close of ours can follow at any moment: a
 * frame that has come in part is passed on as a fragment of its message, as an intermediary may
 * where no extension was negotiated (section 5.4). What is no such frame is passed on as it is, and
 * from there on no Close can be said.
 */
const FIN = 0x80;
const RESERVED_BITS = 0x70;
const OPCODE = 0x0f;
const MASKED = 0x80;
const CONTINUATION = 0;
const BINARY = 2;
const CLOSE = 8;
const PONG = 10;
const MAX_CONTROL = 125;
const LENGTH_OF_2 = 126;
const LENGTH_OF_8 = 127;
/** Of the text in a Close, in bytes: what a control frame holds besides the code. */
const MAX_REASON = 123;

export class ServerFrames {
  /** The head of a frame, as far as it has come. */
  readonly #head = Buffer.alloc(10);
  #have = 0;
  /** A frame is under way whose head is not handed on. */
  #inside = false;
  #opcode = CONTINUATION;
  #fin = 0;
  #left = 0;
  #control: Buffer[] = [];
  #opaque = false;
  #closed = false;

  /** Returns the bytes to hand on now. */
  take(chunk: Buffer): readonly Buffer[] {
    const parts: Buffer[] = [];
    let at = 0;
    // Where what is handed on as it stands begins: frames that are whole.
    let from = 0;
    while (at < chunk.length && !this.#opaque) {
      if (!this.#inside) {
        const begin = at;
        const fresh = this.#have === 0;
        at = this.#readHead(chunk, at);
        if (this.#opaque) {
          if (fresh) break;
          parts.push(Buffer.from(this.#head.subarray(0, this.#have)));
          from = at;
          break;
        }
        if (fresh && this.#inside && chunk.length - at >= this.#left) {
          at += this.#left;
          this.#handedOn();
          continue;
        }
        if (begin > from) parts.push(chunk.subarray(from, begin));
      }
      if (this.#inside) at = this.#fragment(chunk, at, parts);
      from = at;
    }
    const end = this.#opaque ? chunk.length : at;
    if (end > from)
      parts.push(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end));
    return parts;
  }

  /** The frame that ends the WebSocket; undefined where none may be said. */
  close(code: number, reason: string): Buffer | undefined {
    if (this.#opaque || this.#closed) return undefined;
    const text = new TextDecoder().decode(Buffer.from(reason).subarray(0, MAX_REASON), {
      stream: true,
    });
    const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(text)]);
    return Buffer.concat([Buffer.from([FIN | CLOSE, payload.length]), payload]);
  }

  /**
   * Takes bytes of a head; where they end. Afterwards a frame is under way, the head is not whole,
   * or it is none.
   */
  #readHead(chunk: Buffer, from: number): number {
    let at = from;
    while (at < chunk.length) {
      this.#head[this.#have++] = chunk[at++] as number;
      if (this.#have < 2 || this.#have < this.#headBytes()) continue;
      this.#begin();
      break;
    }
    return at;
  }

  #headBytes(): number {
    const short = (this.#head[1] as number) & ~MASKED;
    return short === LENGTH_OF_2 ? 4 : short === LENGTH_OF_8 ? 10 : 2;
  }

  #begin(): void {
    const [first = 0, second = 0] = this.#head;
    const size = this.#headBytes();
    this.#opcode = first & OPCODE;
    this.#fin = first & FIN;
    this.#left =
      size === 2
        ? second
        : size === 4
          ? this.#head.readUInt16BE(2)
          : Number(this.#head.readBigUInt64BE(2));
    const known = this.#opcode <= BINARY || (this.#opcode >= CLOSE && this.#opcode <= PONG);
    const control = this.#opcode < CLOSE || (this.#fin !== 0 && second <= MAX_CONTROL);
    this.#opaque =
      (first & RESERVED_BITS) !== 0 ||
      second >= MASKED ||
      !known ||
      !control ||
      !Number.isSafeInteger(this.#left);
    if (this.#opaque) return;
    this.#have = 0;
    this.#inside = true;
  }

  /** Hands on what has come of the frame under way: a control frame when it is whole. */
  #fragment(chunk: Buffer, at: number, parts: Buffer[]): number {
    const part = chunk.subarray(at, at + this.#left);
    this.#left -= part.length;
    const last = this.#left === 0;
    if (this.#opcode >= CLOSE) {
      this.#control.push(part);
      if (last) {
        const payload = Buffer.concat(this.#control);
        parts.push(Buffer.from([FIN | this.#opcode, payload.length]), payload);
        this.#control = [];
      }
    } else if (last || part.length > 0) {
      parts.push(headOf(this.#opcode | (last ? this.#fin : 0), part.length), part);
      this.#opcode = CONTINUATION;
    }
    if (last) this.#handedOn();
    return at + part.length;
  }

  #handedOn(): void {
    this.#closed ||= this.#opcode === CLOSE;
    this.#inside = false;
    this.#left = 0;
  }
}

function headOf(first: number, length: number): Buffer {
  if (length < LENGTH_OF_2) return Buffer.from([first, length]);
  if (length < 65_536) return Buffer.from([first, LENGTH_OF_2, length >> 8, length & 0xff]);
  const head = Buffer.alloc(10);
  head[0] = first;
  head[1] = LENGTH_OF_8;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}
