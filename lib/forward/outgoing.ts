/** Parts of a message that are written anew on its way: Host, framing, lengths. */
import {
  fieldOf,
  type Body,
  type Fields,
  type Framing,
  type RequestHead,
  type ResponseHead,
} from '../http/message.ts';
import { formatAuthority } from '../net/authority.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Permit } from '../exchange/authorize.ts';
import type { DescribedHead } from '../exchange/describe.ts';
import type { FieldRules } from '../exchange/headers.ts';
import type { Destination } from '../policy/protocols/index.ts';

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
export function framingOf(body: Body | Buffer | undefined, head: RequestHead): Framing {
  if (body === undefined) return emptyFraming(head);
  return Buffer.isBuffer(body) ? { kind: 'length', length: body.length } : head.framing;
}

/** The fields of the request to send; `fields` as they were judged, with a credential of ours. */
export function requestFields(
  { facts, hops }: DescribedHead,
  fields: Fields,
  { destination }: Pick<Permit, 'destination'>,
  { context }: { readonly context: { readonly fields: Pick<FieldRules, 'via'> } },
): string[] {
  const sent = ['host', hostField(facts, destination), ...fields, 'via', context.fields.via];
  if (hops !== undefined) sent.push('max-forwards', String(hops));
  return sent;
}

export function withoutFields(fields: readonly string[], names: ReadonlySet<string>): string[] {
  return fields.filter((_, i) => !names.has(fields[i - (i % 2)] ?? ''));
}

/** A POST without content says so (RFC 9110 section 8.6). */
function emptyFraming({ framing }: RequestHead): Framing {
  return framing.kind === 'length' ? framing : NONE;
}

/** The answer's length, if it is known; for HEAD what the upstream says it would be. */
export function lengthFor(method: string, { framing, fields }: ResponseHead): number | undefined {
  if (framing.kind === 'length') return framing.length;
  if (method !== 'HEAD') return framing.kind === 'none' ? 0 : undefined;
  const said = fieldOf(fields, 'content-length');
  return said === undefined ? undefined : Number(said);
}
