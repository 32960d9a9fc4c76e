/** What of a message is written anew on its way: Host, framing, lengths. */
import {
  fieldOf,
  type Body,
  type Fields,
  type Framing,
  type OutgoingRequest,
  type RequestHead,
  type ResponseHead,
} from '../http/message.ts';
import { formatAuthority } from '../net/authority.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Asked } from '../exchange/asking.ts';

const NONE: Framing = Object.freeze({ kind: 'none' });

/**
 * Host as the upstream wants it, or as decided, without the default port of the scheme that the
 * upstream sees (RFC 9110 section 4.2.3).
 */
export function hostField({ host, port }: Facts, { tls, sentHost }: Destination): string {
  if (sentHost !== undefined) return sentHost;
  const byDefault = tls.mode !== 'plaintext' && port === 443 ? 443 : 80;
  return formatAuthority(host, port, byDefault);
}

/** Of the request to send. A Buffer is one that was read whole because it was judged. */
function framingOf(body: Body | Buffer | undefined, head: RequestHead): Framing {
  if (body === undefined) return emptyFraming(head);
  return Buffer.isBuffer(body) ? { kind: 'length', length: body.length } : head.framing;
}

interface Head {
  /** As they were judged. */
  readonly fields: Fields;
  readonly via: string;
  /** It is a gRPC call. */
  readonly call: boolean;
  /** Sec-WebSocket-Key of ours. */
  readonly key: string | undefined;
  readonly received: RequestHead;
}

/** The head of the request to send. */
export function requestHead(
  destination: Destination,
  { described, body }: Asked,
  { fields: judged, via, call, key, received }: Head,
): OutgoingRequest {
  const { method, target, webSocket, hops } = described;
  const fields = ['host', hostField(described.facts, destination), ...judged, 'via', via];
  if (call) fields.push('te', 'trailers');
  if (hops !== undefined) fields.push('max-forwards', String(hops));
  if (key !== undefined) fields.push('sec-websocket-key', key);
  const framing = framingOf(body, received);
  return webSocket === undefined
    ? { method, target, fields, framing }
    : { method, target, fields, framing, upgrade: 'websocket' };
}

export function withoutFields(fields: readonly string[], names: ReadonlySet<string>): string[] {
  return fields.filter((_, i) => !names.has(fields[i - (i % 2)] ?? ''));
}

/** A POST without content says so (RFC 9110 section 8.6). */
function emptyFraming({ framing }: RequestHead): Framing {
  return framing.kind === 'length' ? framing : NONE;
}

/** What is known of the answer's length; for HEAD what the upstream says it would be. */
export function lengthFor(method: string, { framing, fields }: ResponseHead): number | undefined {
  if (framing.kind === 'length') return framing.length;
  if (method !== 'HEAD') return framing.kind === 'none' ? 0 : undefined;
  const said = fieldOf(fields, 'content-length');
  return said === undefined ? undefined : Number(said);
}
