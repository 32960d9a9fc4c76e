/**
 * Values that MCP 2026-07-28 mirrors from the body into fields of the request (Streamable HTTP,
 * request metadata): `Mcp-Name`, and `Mcp-Param-…` for the arguments that a tool's input schema
 * marks with `x-mcp-header`. What does not fit a field is in a base64 envelope. Decisions are taken
 * on the body alone.
 */
import { isUtf8 } from 'node:buffer';
import { Fault } from '../base/fault.ts';
import { type Fields, fieldsOf } from '../http/message.ts';
import { type McpVersion, isStateless } from '../policy/model/mcp-methods.ts';
import { type Json, JsonNumber, type JsonObject, isObject } from '../schema/json.ts';
import type { Message } from './message.ts';

/** Field name in lower case to the way to the argument. */
export type HeaderPaths = ReadonlyMap<string, readonly string[]>;

const ENVELOPE = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/;
const PLAIN = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/;
const MAX_HEADERS = 32;
const DEEPEST = 8;

/** The text in a field, or undefined where the envelope is broken. */
export function decodeValue(field: string): string | undefined {
  if (!field.startsWith('=?base64?')) return field;
  const encoded = ENVELOPE.exec(field)?.[1];
  if (encoded === undefined || encoded.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  return isUtf8(bytes) && bytes.toString('base64') === encoded ? bytes.toString('utf8') : undefined;
}

export function encodeValue(text: string): string {
  if (PLAIN.test(text) && !(text.startsWith('=?base64?') && text.endsWith('?='))) return text;
  return `=?base64?${Buffer.from(text).toString('base64')}?=`;
}

/**
 * Where the schema of a tool has `x-mcp-header`, along `properties` alone; what breaks the rules is
 * left out.
 */
export function headerPaths(definition: JsonObject): HeaderPaths {
  const found = new Map<string, readonly string[]>();
  collect(definition.get('inputSchema'), [], found);
  return found;
}

function collect(
  schema: Json | undefined,
  path: readonly string[],
  into: Map<string, readonly string[]>,
): void {
  const properties = isObject(schema) ? schema.get('properties') : undefined;
  if (!isObject(properties) || path.length >= DEEPEST) return;
  for (const [name, property] of properties) {
    if (!isObject(property)) continue;
    const header = property.get('x-mcp-header');
    const way = [...path, name];
    if (typeof header === 'string' && TOKEN.test(header) && into.size < MAX_HEADERS)
      into.set(`mcp-param-${header.toLowerCase()}`, way);
    collect(property, way, into);
  }
}

/** The fields that the arguments call for: names and encoded values. */
export function paramFields(paths: HeaderPaths, args: JsonObject): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [field, way] of paths) {
    let value: Json | undefined = args;
    for (const step of way) value = isObject(value) ? value.get(step) : undefined;
    if (typeof value === 'string') fields.set(field, encodeValue(value));
    else if (typeof value === 'boolean' || value instanceof JsonNumber)
      fields.set(field, scalarText(value));
  }
  return fields;
}

function scalarText(value: boolean | JsonNumber): string {
  if (typeof value === 'boolean') return String(value);
  return Number.isSafeInteger(value.value) ? String(value.value) : value.text;
}

/** Whether a field says what the body says; numbers compare as numbers. */
export function sameValue(field: string, expected: string): boolean {
  const [said, meant] = [decodeValue(field), decodeValue(expected)];
  if (said === undefined || meant === undefined) return false;
  return (
    said === meant ||
    (/^-?\d+(?:\.\d+)?$/.test(said) && /^-?\d+$/.test(meant) && Number(said) === Number(meant))
  );
}

/** Mcp-Method and Mcp-Name are what the body says; required in 2026-07-28. */
export function checkDuplicatedHeaders(
  fields: Fields,
  message: Message,
  version: McpVersion,
): void {
  const method = only(fields, 'mcp-method');
  const name = only(fields, 'mcp-name');
  const inBody = message.kind === 'response' ? undefined : message.method;
  if (method !== undefined && method !== inBody)
    throw mismatch('Mcp-Method is not the method in the body', 'mcp-method');
  const meant = message.kind === 'request' ? mirroredName(message) : undefined;
  if (name !== undefined && (meant === undefined || decodeValue(name) !== meant))
    throw mismatch('Mcp-Name is not the name in the body', 'mcp-name');
  if (!isStateless(version) || message.kind !== 'request') return;
  if (method === undefined) throw mismatch('Mcp-Method is missing', 'mcp-method');
  if (meant !== undefined && name === undefined) throw mismatch('Mcp-Name is missing', 'mcp-name');
}

/** What Mcp-Name repeats, for the methods that have it. */
export function mirroredName({
  method,
  params,
}: {
  readonly method: string;
  readonly params: JsonObject;
}): string | undefined {
  const member =
    method === 'resources/read'
      ? 'uri'
      : method === 'tools/call' || method === 'prompts/get'
        ? 'name'
        : undefined;
  const value = member === undefined ? undefined : params.get(member);
  return typeof value === 'string' ? value : undefined;
}

/** The value of a field that may be there once. */
export function only(fields: Fields, name: string): string | undefined {
  const [value, ...more] = fieldsOf(fields, name);
  if (more.length > 0) throw mismatch(`${name} is there more than once`, name);
  return value;
}

export function mismatch(what: string, at: string): Fault {
  return new Fault('header-mismatch', what, {
    at,
    hint: 'fields repeat what the body says, or are left out',
  });
}
