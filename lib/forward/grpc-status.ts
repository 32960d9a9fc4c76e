/**
 * Faults in the words of gRPC: a status and a message, in place of an answer (Trailers-Only) or,
 * where the answer has begun, as trailers.
 */
import type { Code, Fault } from '../base/fault.ts';
import { plain } from '../exchange/evidence.ts';
import type { Exchange } from '../exchange/exchange.ts';
import { DECISION_FIELD } from '../exchange/fault-response.ts';
import { type Fields, type OutgoingResponse, fieldOf } from '../http/message.ts';
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

/** The status of each Fault; INTERNAL where there is no row. */
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

/** True if the request must be answered in the words of gRPC: it could read nothing else. */
export function speaksGrpc({ head, connection }: ServerExchange): boolean {
  return connection.major === 2 && CONTENT_TYPE.test(fieldOf(head.fields, 'content-type') ?? '');
}

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
  const rule = exchange.authorization?.decision.rule;
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

/** The trailers of a call that ends after its answer began; a client that has gone gets none. */
export function statusTrailers(fault: Fault, exchange: Exchange): (() => Fields) | undefined {
  return fault.code === 'client-gone' ? undefined : () => statusFields(fault, exchange);
}

/** Keeps the status that an upstream gave, in its head (Trailers-Only) or its trailers. */
export function noteStatus(exchange: Exchange, fields: Fields): void {
  const said = fieldOf(fields, 'grpc-status');
  if (said !== undefined && /^\d{1,2}$/.test(said)) exchange.grpcStatus = Number(said);
}
