/**
 * gRPC over HTTP/2 (the protocol page of the gRPC project, PROTOCOL-HTTP2), as far as it is more
 * than HTTP:
 * - a call is POST with content type `application/grpc`, over HTTP/2; its `grpc-timeout` is a
 *   deadline of the exchange;
 * - what ends a call here is told in its own words: a status and a message, in place of an answer
 *   (Trailers-Only) or, where it has begun, as trailers;
 * - trailers of the upstream are the agent's: they hold the status.
 */
import { type Code, Fault } from '../base/fault.ts';
import type { CountedBody } from '../exchange/counted-body.ts';
import { plain } from '../exchange/evidence.ts';
import type { Exchange } from '../exchange/exchange.ts';
import { DECISION_FIELD } from '../exchange/fault-response.ts';
import {
  type Body,
  type Fields,
  type OutgoingResponse,
  type ResponseHead,
  fieldOf,
  fieldsOf,
} from '../http/message.ts';
import type { ServerExchange } from '../http/server-exchange.ts';

const CANCELLED = 1;
const INVALID_ARGUMENT = 3;
const DEADLINE_EXCEEDED = 4;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;

/** What each Fault is to a gRPC client; INTERNAL where nothing is said. */
const STATUSES: Partial<Readonly<Record<Code, number>>> = {
  malformed: INVALID_ARGUMENT,
  ambiguous: INVALID_ARGUMENT,
  'target-too-long': INVALID_ARGUMENT,
  misdirected: INVALID_ARGUMENT,
  'head-too-large': RESOURCE_EXHAUSTED,
  'body-too-large': RESOURCE_EXHAUSTED,
  'too-many': RESOURCE_EXHAUSTED,
  'quota-spent': RESOURCE_EXHAUSTED,
  'request-timeout': DEADLINE_EXCEEDED,
  timeout: DEADLINE_EXCEEDED,
  'method-not-supported': UNIMPLEMENTED,
  denied: PERMISSION_DENIED,
  'wrong-entry': PERMISSION_DENIED,
  'address-refused': PERMISSION_DENIED,
  'no-longer-allowed': PERMISSION_DENIED,
  'task-unknown': UNAUTHENTICATED,
  'task-required': UNAUTHENTICATED,
  'step-up-required': PERMISSION_DENIED,
  'task-ended': PERMISSION_DENIED,
  'no-identity': UNAVAILABLE,
  'identity-expired': UNAVAILABLE,
  'no-trust-bundle': UNAVAILABLE,
  'audit-unavailable': UNAVAILABLE,
  'credential-unavailable': UNAVAILABLE,
  'shutting-down': UNAVAILABLE,
  'upstream-unresolved': UNAVAILABLE,
  'upstream-refused': UNAVAILABLE,
  'upstream-tls': UNAVAILABLE,
  'upstream-identity': UNAVAILABLE,
  'upstream-cut': UNAVAILABLE,
  'upstream-timeout': UNAVAILABLE,
  'client-gone': CANCELLED,
  aborted: CANCELLED,
};

function grpcStatusOf(fault: Fault): number {
  return STATUSES[fault.code] ?? INTERNAL;
}

const CONTENT_TYPE = /^application\/grpc(\+[a-z0-9.+-]+)?[\t ]*(;.*)?$/i;

/** Whether the request is told about faults in the words of gRPC: it could read nothing else. */
export function speaksGrpc({ head, connection }: ServerExchange): boolean {
  return connection.major === 2 && CONTENT_TYPE.test(fieldOf(head.fields, 'content-type') ?? '');
}

/**
 * Milliseconds that a call to a gRPC destination gives itself, if it does. Throws a Fault for what
 * is no call or has a deadline that is none.
 */
export function callTimeout(x: ServerExchange): number | undefined {
  if (!speaksGrpc(x)) {
    const hint = 'send content-type: application/grpc';
    throw new Fault(
      'unsupported-media',
      'a call to a gRPC destination has the content type application/grpc',
      {
        hint,
        at: 'content-type',
      },
    );
  }
  const [said, more] = fieldsOf(x.head.fields, 'grpc-timeout');
  if (said === undefined) return undefined;
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(said) ?? [];
  if (digits === undefined || more !== undefined)
    throw new Fault('malformed', 'grpc-timeout is no timeout', { at: 'grpc-timeout' });
  return Math.ceil(Number(digits) * (UNITS[unit] ?? 0));
}

/** In milliseconds. */
const UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** The answer to a call that ends before it was answered: Trailers-Only. */
export function grpcRefusal(fault: Fault, exchange: Exchange): { readonly head: OutgoingResponse } {
  const fields = [
    'content-type',
    'application/grpc',
    ...statusFields(fault, exchange),
    DECISION_FIELD,
    exchange.id,
  ];
  return { head: { status: 200, fields, length: undefined } };
}

/** The status of a Fault, as the record has it from here on. */
export function statusFields(fault: Fault, exchange: Exchange): string[] {
  const status = grpcStatusOf(fault);
  exchange.grpcStatus = status;
  const rule = exchange.judgement?.decision.rule;
  const about = fault.code === 'internal' ? 'the sidecar failed' : plain(fault.message);
  const hint = fault.hint === undefined ? '' : `; ${plain(fault.hint)}`;
  const by = rule === undefined || about.includes(rule) ? '' : ` (rule ${rule})`;
  return ['grpc-status', String(status), 'grpc-message', percentEncoded(about + by + hint)];
}

/**
 * Status-Message: everything but visible ASCII and space, and `%` itself, as UTF-8 in percent form.
 */
function percentEncoded(text: string): string {
  return text.replace(/[^ -$&-~]+/gu, (part) =>
    [...Buffer.from(part)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
}

/**
 * The answer to a call as it comes from the upstream. Where it breaks off it is ended with the
 * status of the Fault instead, which a client can tell from every other end; `fault` then says what
 * happened.
 */
export class CallBody implements Body {
  readonly length = undefined;
  fault: Fault | undefined;
  readonly #body: Body;
  readonly #exchange: Exchange;
  readonly #now: () => number;

  constructor(body: Body, exchange: Exchange, now: () => number) {
    this.#now = now;
    this.#body = body;
    this.#exchange = exchange;
  }

  poll(): Buffer | 'end' | 'later' {
    if (this.fault !== undefined) return 'end';
    try {
      return this.#body.poll();
    } catch (failure) {
      return this.#brokenOff(failure);
    }
  }

  async ready(): Promise<void> {
    try {
      await this.#body.ready();
    } catch (failure) {
      this.#brokenOff(failure);
    }
  }

  trailers(): Fields {
    if (this.fault !== undefined) return statusFields(this.fault, this.#exchange);
    const fields = this.#body.trailers();
    noteStatus(this.#exchange, fields);
    return fields.filter((_, i) => fields[i - (i % 2)]?.startsWith('chaperone-') !== true);
  }

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }

  #brokenOff(failure: unknown): 'end' {
    const exchange = this.#exchange;
    this.fault =
      exchange.reason ?? exchange.overdue(this.#now()) ?? Fault.from(failure, 'internal');
    if (this.fault.code === 'client-gone') throw this.fault;
    return 'end';
  }
}

/** Keeps the status that an upstream gave, in its head (Trailers-Only) or its trailers. */
export function noteStatus(exchange: Exchange, fields: Fields): void {
  const said = fieldOf(fields, 'grpc-status');
  if (said !== undefined && /^\d{1,2}$/.test(said)) exchange.grpcStatus = Number(said);
}

/** A gRPC call under way. */
export interface Call {
  /** Milliseconds that it gives itself. */
  readonly timeout: number | undefined;
  body: CallBody | undefined;
}

export interface CallAnswer {
  readonly head: ResponseHead;
  readonly fields: string[];
  readonly counted: CountedBody;
}
