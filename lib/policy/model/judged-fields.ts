/**
 * Header fields as policy sees them. Those that carry a secret are not there: a condition over one
 * would be an oracle for it, and explanations and records could show it. (What the agent sends in
 * them is taken off or replaced where the sidecar holds the credential.)
 */
import type { Fields } from '../../http/message.ts';
import { foldField } from './field-table.ts';

/** RFC 9110 sections 11.6.2 and 11.7.2, RFC 6265, and the names that API keys travel under. */
export const SECRET_FIELDS: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-api-key',
  'api-key',
  'x-auth-token',
  'x-amz-security-token',
  'x-goog-api-key',
]);

/** Values of one field, a line each; none for a secret one. `name` in lower case. */
export function fieldValues(fields: Fields, name: string): readonly string[] {
  const values: string[] = [];
  if (SECRET_FIELDS.has(foldField(name))) return values;
  for (let i = 0; i < fields.length; i += 2) {
    const value = fields[i + 1];
    if (fields[i] === name && value !== undefined) values.push(value);
  }
  return values;
}

/** Names in order of first appearance, each with its values; secret ones left out. */
export function visibleFields(fields: Fields): ReadonlyMap<string, readonly string[]> {
  const visible = new Map<string, string[]>();
  for (let i = 0; i < fields.length; i += 2) {
    const [name, value] = [fields[i], fields[i + 1]];
    if (name === undefined || value === undefined || SECRET_FIELDS.has(foldField(name))) continue;
    const values = visible.get(name);
    if (values === undefined) visible.set(name, [value]);
    else values.push(value);
  }
  return visible;
}
