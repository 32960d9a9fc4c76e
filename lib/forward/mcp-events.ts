/**
 * The stream of events of an MCP server: each event is read, admitted and written anew as it comes;
 * what is not taken is not read.
 */
import { Fault } from '../base/fault.ts';
import type { Turns } from '../base/turns.ts';
import type { Body, Fields } from '../http/message.ts';
import { digestOf, remember } from '../mcp/given.ts';
import { LONG } from '../mcp/long-json.ts';
import { admit } from '../mcp/reply.ts';
import { EventReader, type ServerEvent, writeEvent } from '../mcp/sse.ts';
import { writeJson } from '../schema/json-writer.ts';
import { type Dialogue, admittedOf, conversationOf, messageOf } from './mcp-dialogue.ts';

/** Ids of events of one session at which a stream may be resumed; the oldest go first. */
const MAX_EVENTS = 1024;
const OTHER_TYPE = 'an event of another type than message';

/** An event without data moves the place to resume at and says nothing. */
function eventText(event: ServerEvent, data: string | undefined): string {
  return data === undefined && event.id === undefined ? '' : writeEvent({ ...event, data });
}

/** Bytes of a stream that are read in one go. */
const AT_A_TIME = 16_384;

export class InspectedEvents implements Body {
  readonly length = undefined;
  readonly #body: Body;
  readonly #dialogue: Dialogue;
  readonly #turns: Turns;
  readonly #reader: EventReader;
  /** Read and not inspected yet. */
  #events: readonly ServerEvent[] = [];
  #at = 0;
  /** Of the piece that came last: not read yet. */
  #rest: Buffer | undefined;
  /** A long event is being inspected. */
  #working: Promise<void> | undefined;
  /** Its text, once it is inspected. */
  #inspected = '';
  #failure: Fault | undefined;

  constructor(body: Body, dialogue: Dialogue) {
    const { parts, policy } = dialogue.described.endpoint;
    this.#body = body;
    this.#dialogue = dialogue;
    this.#turns = parts.turns;
    this.#reader = new EventReader(policy.message);
  }

  poll(): Buffer | 'end' | 'later' {
    const turns = this.#turns;
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#working === undefined && turns.full) this.#working = this.#wait();
      if (this.#working !== undefined) return 'later';
      const text = turns.counted(() => this.#next());
      if (text !== '') return Buffer.from(text);
      if (this.#hasMore()) continue;
      const piece = this.#rest ?? this.#body.poll();
      if (piece === 'end' || piece === 'later') return piece;
      if (this.#rest === undefined) this.#dialogue.exchange.received += piece.length;
      // A copy: the buffer belongs to the connection. There may be an event for every few bytes.
      this.#rest = piece.length > AT_A_TIME ? Buffer.from(piece.subarray(AT_A_TIME)) : undefined;
      this.#events = turns.counted(() => this.#reader.read(piece.subarray(0, AT_A_TIME)));
      this.#at = 0;
    }
  }

  #hasMore(): boolean {
    return this.#working !== undefined || this.#at < this.#events.length;
  }

  /** This turn has had its share of work. */
  async #wait(): Promise<void> {
    await this.#turns.room();
    this.#working = undefined;
  }

  /** Of what was read: up to a long event, which is inspected in turns of its own. */
  #next(): string {
    let text = this.#inspected;
    this.#inspected = '';
    while (this.#working === undefined) {
      const event = this.#events[this.#at];
      if (event === undefined) break;
      this.#at += 1;
      const { data = '' } = event;
      if (data.length <= LONG) text += this.#inspect(event);
      else this.#working = this.#inspectLong(event, Buffer.from(data));
    }
    return text;
  }

  #inspect(event: ServerEvent): string {
    this.#remember(event);
    if (event.comment || event.data === undefined || event.data === '') return writeEvent(event);
    const conversation = conversationOf(this.#dialogue);
    if (event.type !== 'message') conversation.withheld(OTHER_TYPE);
    const admitted =
      event.type === 'message'
        ? admit(messageOf(Buffer.from(event.data), conversation), conversation)
        : undefined;
    return eventText(event, typeof admitted === 'object' ? writeJson(admitted) : admitted);
  }

  /** Its id is a place at which the session may be resumed. */
  #remember({ id }: ServerEvent): void {
    const { session } = this.#dialogue;
    if (id !== undefined && session !== undefined)
      remember(session.events, digestOf(id), MAX_EVENTS);
  }

  async #inspectLong(event: ServerEvent, data: Buffer): Promise<void> {
    this.#remember(event);
    try {
      await this.#turns.room();
      const message = event.type === 'message';
      if (!message) conversationOf(this.#dialogue).withheld(OTHER_TYPE);
      const admitted = message ? await admittedOf(data, this.#dialogue) : undefined;
      this.#inspected = eventText(event, admitted?.toString('utf8'));
    } catch (failure) {
      this.#failure = Fault.from(failure, 'upstream-malformed');
    } finally {
      this.#working = undefined;
    }
  }

  ready(): Promise<void> {
    return this.#working ?? this.#body.ready();
  }

  trailers(): Fields {
    return [];
  }

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }
}
