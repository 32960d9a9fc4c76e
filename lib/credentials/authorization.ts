/** Authorization of ours in place of the agent's. */
import type { Fields } from '../http/message.ts';
import { foldField } from '../policy/model/field-table.ts';

/** The same fields with this one Authorization (RFC 9110 section 11.6.2) instead of any other. */
export function withAuthorization(fields: Fields, value: string): string[] {
  const kept = ['authorization', value];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? '';
    if (!isAuthorization(name)) kept.push(name, fields[i + 1] ?? '');
  }
  return kept;
}

/** In every spelling that a server may read as that field. */
function isAuthorization(name: string): boolean {
  return name === 'authorization' || foldField(name) === 'authorization';
}
