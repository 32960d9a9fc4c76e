/**
 * Server-sent events (WHATWG HTML, section 9.2) as they arrive: bytes in any pieces to whole
 * events, and events back to text. Lines end with LF, CR or CRLF, a byte order mark at the start is
 * skipped, an event that its end cuts off is dropped. UTF-8 strictly. One event holds so many bytes
 * and no more, comments and fields that are ignored included. What is sent is written anew.
 */
import { isUtf8 } from 'node:buffer';
import { Fault } from '../base/fault.ts';

export interface ServerEvent {
  /** `message` where the stream names none. */
  readonly type: string;
  /** undefined: the event has no id field; '' resets it. */
  readonly id: string | undefined;
  /** undefined: the event has no data field, and only sets id or retry. */
  readonly data: string | undefined;
  /** Milliseconds, as digits. */
  readonly retry: string | undefined;
  /** There was nothing but comments: the stream is alive. */
  readonly comment: boolean;
}

const LF = 0x0a;
const CR = 0x0d;
const MAX_ID = 1024;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

export class EventReader {
  readonly #most: number;
  /** Of the line that is not complete yet. */
  #pieces: Buffer[] = [];
  #bytes = 0;
  #afterCr = false;
  #first = true;
  #type = '';
  #id: string | undefined;
  #retry: string | undefined;
  #data: string[] | undefined;
  #comment = false;

  /** `most` bytes an event. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The events that end in this piece. Throws a Fault `upstream-malformed`. */
  read(piece: Buffer): readonly ServerEvent[] {
    const events: ServerEvent[] = [];
    let start = 0;
    if (this.#afterCr && piece.length > 0) {
      this.#afterCr = false;
      if (piece[0] === LF) start = 1;
    }
    for (let at = start; at < piece.length; at += 1) {
      const byte = piece[at];
      if (byte !== LF && byte !== CR) continue;
      const event = this.#line(piece.subarray(start, at));
      if (event !== undefined) events.push(event);
      if (byte === CR) {
        if (at + 1 === piece.length) this.#afterCr = true;
        else if (piece[at + 1] === LF) at += 1;
      }
      start = at + 1;
    }
    if (start < piece.length) this.#keep(piece.subarray(start));
    return events;
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#most) throw malformed(`an event of more than ${this.#most} bytes`);
  }

  /** A copy: the buffer belongs to the connection. */
  #keep(part: Buffer): void {
    this.#count(part.length);
    this.#pieces.push(Buffer.from(part));
  }

  #line(end: Buffer): ServerEvent | undefined {
    this.#count(end.length + 1);
    let bytes = this.#pieces.length === 0 ? end : Buffer.concat([...this.#pieces, end]);
    this.#pieces = [];
    if (this.#first) {
      this.#first = false;
      if (bytes.subarray(0, 3).equals(BOM)) bytes = bytes.subarray(3);
    }
    if (bytes.length === 0) return this.#dispatch();
    if (!isUtf8(bytes)) throw malformed('a line that is not UTF-8');
    this.#field(bytes.toString('utf8'));
    return undefined;
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    if (colon === 0) {
      this.#comment = true;
      return;
    }
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') (this.#data ??= []).push(value);
    else if (name === 'event') this.#type = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = idOf(value);
    else if (name === 'retry' && /^\d{1,9}$/.test(value)) this.#retry = value;
  }

  /** An empty line: what was collected, if there is anything to tell. */
  #dispatch(): ServerEvent | undefined {
    const something =
      this.#data !== undefined || this.#id !== undefined || this.#retry !== undefined;
    const event =
      something || this.#comment
        ? {
            type: this.#type === '' ? 'message' : this.#type,
            id: this.#id,
            data: this.#data?.join('\n'),
            retry: this.#retry,
            comment: !something,
          }
        : undefined;
    this.#type = '';
    this.#id = this.#retry = this.#data = undefined;
    this.#comment = false;
    this.#bytes = 0;
    return event;
  }
}

function idOf(value: string): string {
  if (value.length > MAX_ID) throw malformed(`an event id of more than ${MAX_ID} characters`);
  return value;
}

function malformed(what: string): Fault {
  return new Fault('upstream-malformed', `the event stream holds ${what}`);
}

/** The event as text; `data` has no line ends, as JSON is written without. */
export function writeEvent({ id, data, retry, comment }: ServerEvent): string {
  if (comment) return ':\n\n';
  const lines = [
    ...(id === undefined ? [] : [`id: ${id}`]),
    ...(retry === undefined ? [] : [`retry: ${retry}`]),
    ...(data === undefined ? [] : data.split('\n').map((line) => `data: ${line}`)),
  ];
  return `event: message\n${lines.join('\n')}\n\n`;
}
