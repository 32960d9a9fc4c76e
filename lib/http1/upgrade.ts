/** A switch of protocols as an upstream answers it (RFC 9110 section 7.8). */
import { RESPONSE, malformed } from '../http/field-lines.ts';
import { type Fields, fieldOf } from '../http/message.ts';

/** RFC 9110 section 7.8: only the protocol that was asked for. */
export function checkSwitch(asked: string | undefined, fields: Fields): void {
  if (asked === undefined || fieldOf(fields, 'upgrade')?.toLowerCase() !== asked.toLowerCase()) {
    throw malformed(RESPONSE, 'it switches to a protocol that was not asked for');
  }
}
