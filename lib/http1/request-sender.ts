/**
 * The sending of requests. Where the rest of one cannot be sent any more, what the upstream said
 * before it stopped reading may still be an answer.
 */
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import type { Body, OutgoingRequest } from '../http/message.ts';
import { hasBody } from './body.ts';
import { keepReadable } from './sockets.ts';
import type { Transport } from './transport.ts';

export interface SenderOwner {
  /** Nothing can be sent any more; called once. */
  onUnsent(fault: Fault): void;
  /** The body of the request has failed. */
  onUploadFailed(fault: Fault): void;
}

const SENT = Promise.resolve();

export class RequestSender {
  readonly #transport: Transport;
  readonly #owner: SenderOwner;
  #upload: Body | undefined;
  #guarded = false;
  #unsent: Fault | undefined;

  constructor(transport: Transport, owner: SenderOwner) {
    this.#transport = transport;
    this.#owner = owner;
  }

  /** The reason why nothing can be sent any more. */
  get unsent(): Fault | undefined {
    return this.#unsent;
  }

  send(text: string, head: OutgoingRequest, body: Buffer | Body | undefined): Promise<void> {
    const { socket, output } = this.#transport;
    if (body !== undefined && !this.#guarded) {
      this.#guarded = true;
      keepReadable(socket, this.#onUnsent);
    }
    if (body === undefined || head.framing.kind === 'none') output.text(text);
    else if (Buffer.isBuffer(body)) output.joined(text, body);
    else return this.#stream(text, body, head);
    return SENT;
  }

  /** The body that is not sent to its end, whose rest is not wanted. */
  stop(): Body | undefined {
    const upload = this.#upload;
    this.#upload = undefined;
    return upload;
  }

  #stream(text: string, body: Body, head: OutgoingRequest): Promise<void> {
    const { framing } = head;
    this.#upload = body;
    const send = framing.kind === 'length' ? framing.length : framing.kind;
    const sending = { framing: send, trailers: head.trailers === true };
    const sent = Promise.try(() => this.#transport.output.send(text, body, sending)).then(
      () => void this.stop(),
      (failure) => this.#failed(body, failure),
    );
    ignore(sent, 'the caller may be content with the answer');
    return sent;
  }

  #failed(body: Body, failure: unknown): void {
    const fault = Fault.from(failure, 'upstream-cut');
    // The answer is complete: the rest of the request is not wanted, which is no failure.
    if (this.stop() !== body) return;
    body.cancel(fault);
    if (fault !== this.#unsent) this.#owner.onUploadFailed(fault);
    throw fault;
  }

  readonly #onUnsent = (cause: Error): void => {
    if (this.#unsent !== undefined) return;
    this.#unsent = new Fault('upstream-cut', 'the connection to the upstream failed', { cause });
    this.#owner.onUnsent(this.#unsent);
  };
}

/** Throws a TypeError for a body that its framing does not fit. */
export function checkBody({ framing }: OutgoingRequest, body: Buffer | Body | undefined): void {
  const said = framing.kind === 'length' ? framing.length : 0;
  if (
    body === undefined
      ? hasBody(framing)
      : Buffer.isBuffer(body) && (framing.kind === 'chunked' || said !== body.length)
  ) {
    throw new TypeError('the body given and the framing said do not fit');
  }
}
