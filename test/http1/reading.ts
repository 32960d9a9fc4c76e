/**
 * What a reader made of a message, in a form in which two readers can be compared; and what we make
 * of it.
 */
import type { Fields } from '../../lib/http/message.ts';
import { read } from './wire.ts';

export type Role = 'request' | 'response';

/**
 * One message as it was read: start line, field lines flat (names lower-case), body and trailers as
 * latin1.
 */
export interface Seen {
  readonly start: string;
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

export interface Reading {
  /** The messages that were read whole. */
  readonly seen: readonly Seen[];
  readonly refused: boolean;
}

/**
 * A message that we accept, or one that we sent: what every other reader must make of the same
 * bytes.
 */
export interface Meant extends Seen {
  /** The bytes of this message alone, as latin1. */
  readonly text: string;
  readonly method: string;
  readonly target: string;
  readonly minor: number;
}

/**
 * A response with the interim answer that the generators put before some of them taken off:
 * connections read it before, on its own.
 */
export function withoutInterim(text: string): { readonly interim: string; readonly rest: string } {
  const interim = /^HTTP\/1\.1 100 Continue\r\n\r\n/.exec(text)?.[0] ?? '';
  return { interim, rest: text.slice(interim.length) };
}

/**
 * Blanks before the colons of a head taken off, as a proxy must before anyone else reads it (RFC
 * 9112 section 5.1).
 */
function withoutBlanks(text: string): string {
  const end = text.indexOf('\r\n\r\n');
  return text.slice(0, end).replaceAll(/(\r\n[^\s:]+)[ \t]+:/g, '$1:') + text.slice(end);
}

/**
 * What we make of these bytes; undefined where we do not accept them, or where they are an interim
 * answer and no more.
 */
export function weMean(role: Role, text: string): Meant | undefined {
  const { interim, rest } =
    role === 'response' ? withoutInterim(text) : { interim: '', rest: text };
  const ours = read(
    [Buffer.from(rest, 'latin1')],
    role === 'response' ? { to: 'GET', end: true } : {},
  );
  if (typeof ours !== 'object' || !('head' in ours)) return undefined;
  const { head, body, trailers } = ours;
  const { fields, minor } = head;
  const used = interim + rest.slice(0, rest.length - ours.rest.length);
  const both = {
    text: 'method' in head ? used : interim + withoutBlanks(used.slice(interim.length)),
    fields,
    body,
    trailers,
    minor,
  };
  if ('method' in head) {
    const { method, target } = head;
    return { ...both, start: `${method} ${target} ${minor}`, method, target };
  }
  if (head.status < 200) return undefined;
  return { ...both, start: `${head.status} ${head.reason} ${minor}`, method: 'GET', target: '/' };
}

/**
 * Field lines as a map of names to values in order: for readers that do not keep the order of
 * lines.
 */
export function asMap(
  fields: Fields,
  without: ReadonlySet<string> = new Set(),
): Record<string, string[]> {
  const map = new Map<string, string[]>();
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? '';
    if (without.has(name)) continue;
    map.set(name, [...(map.get(name) ?? []), fields[i + 1] ?? '']);
  }
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}
