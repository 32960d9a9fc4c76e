/**
 * A record as one line of JSON, the only form in which evidence is written. Rules:
 * - the order of keys is that of the table of records, no white space: equal records, equal bytes;
 * - what the table does not name is not written, whatever the object holds;
 * - text is cut to `MAX_TEXT` characters and escaped beyond what JSON asks for, so that no text
 *   from outside can end a line, color a terminal or turn its direction: C0, DEL and C1 controls,
 *   line and paragraph separators, bidirectional and invisible marks, lone surrogates.
 */
import { ORDERED } from './gen/order.ts';
import type { AuditRecord } from './record.ts';

/** The record with its line end. */
export function encodeRecord(record: AuditRecord): string {
  const order = ORDERED[record.kind] as (record: AuditRecord) => object;
  return `${escapeMarks(JSON.stringify(order(record)))}\n`;
}

/**
 * JSON text with the marks escaped that JSON lets through and a terminal or an editor obeys: C1
 * controls, separators, directions, invisible ones.
 */
export function escapeMarks(json: string): string {
  return isPlain(json) ? json : json.replace(HARMFUL, escaped);
}

/**
 * ASCII without DEL; JSON has escaped the other controls already. Much cheaper than to search for
 * every mark in every line.
 */
function isPlain(line: string): boolean {
  return Buffer.byteLength(line) === line.length && !line.includes('\u007f');
}

const HARMFUL =
  /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** What JSON itself lets through; outside of texts none of these marks occurs. */
function escaped(mark: string): string {
  return `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
