/** Tables with heads for people. What a machine reads is JSON. */
import { escapeMarks } from '../lib/audit/encode.ts';
import type { Io } from './io.ts';

/** The lines of a table: its head in capitals, columns as wide as their widest cell. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  io: Io,
): readonly string[] {
  const clean = rows.map((row) => row.map(onOneLine));
  const widths = head.map((name, i) =>
    Math.max(name.length, ...clean.map((row) => row[i]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  ');
  return [io.style.bold(line(head.map((name) => name.toUpperCase()))), ...clean.map(line)];
}

/**
 * Text from outside with what a terminal would obey escaped as JSON does: controls, line ends,
 * marks.
 */
export function onOneLine(text: string): string {
  return escapeMarks(JSON.stringify(text).slice(1, -1)).replaceAll('\\"', '"');
}

/** `1 task`, `2 tasks`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
