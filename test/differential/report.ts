/** The table of a full run in docs/assurance.md, between two marks; all else of the page is others'. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Role } from '../http1/reading.ts';
import type { Counts } from './peer.ts';

export interface Row {
  readonly peer: string;
  readonly role: Role;
  readonly direction: 'received' | 'sent';
  readonly cases: number;
  readonly counts: Counts | undefined;
}

const PAGE = join(import.meta.dirname, '..', '..', 'docs', 'assurance.md');
const BEGIN = '<!-- fuzzing: written by make fuzz -->';
const END = '<!-- fuzzing: end -->';
const NEW_PAGE = '# Assurance\n\nWhat was run to find out whether the promises hold, and what came out.\n';

export function writeFindings(rows: readonly Row[], { seed, seconds }: { seed: number; seconds: number }): void {
  const page = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : NEW_PAGE;
  const section = `${BEGIN}\n\n## Fuzzing\n\n${findings(rows, seed, seconds)}\n${END}`;
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  const whole =
    from < 0 ? `${page.trimEnd()}\n\n${section}\n` : page.slice(0, from) + section + page.slice(to + END.length);
  writeFileSync(PAGE, whole);
}

const number = (count: number): string => count.toLocaleString('en');

function findings(rows: readonly Row[], seed: number, seconds: number): string {
  const cells = rows.map(({ peer, role, direction, cases, counts }) => {
    const of = (key: keyof Counts): string => (counts === undefined ? '' : number(counts[key]));
    return [
      peer,
      `${role}s ${direction}`,
      number(cases),
      of('same'),
      of('excused'),
      of('stricter'),
      of('neither'),
      '0',
    ];
  });
  const line = (texts: readonly string[]): string => `| ${texts.join(' | ')} |`;
  const widths = HEAD.map((head, at) => Math.max(head.length, ...cells.map((row) => row[at]?.length ?? 0)));
  const padded = (row: readonly string[]): string =>
    line(row.map((text, at) => (at < 2 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0))));
  const rule = line(widths.map((width, at) => (at < 2 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)));
  return `${TEXT}\n\nLast full run: seed ${seed}, ${seconds} seconds.\n\n${[padded(HEAD), rule, ...cells.map(padded)].join('\n')}\n`;
}

const HEAD = [
  'reader',
  'messages',
  'cases',
  'read the same',
  'refused by its rules',
  'refused by us alone',
  'refused by both',
  'differences',
];

const TEXT = `\`make fuzz\` makes messages of the HTTP/1.1 grammar and near it, a third of them distorted as bytes (flips, splices, truncations, repetitions), and holds what
\`lib/http1\` makes of them against other readers: what we accept they must accept and read the same, in start line, fields, body and trailers, and end at the same byte;
what our own connections write they must read as it was meant. The codec alone must say the same however the bytes arrive (cut at random, one message of a
hundred at every boundary), read again what it wrote as the same, and throw nothing but a Fault. nginx is shown only what we accept, on kept connections with a second
request behind each message. "Refused by its rules" are messages that the codec accepts and the reader does not: methods it does not know, \`*\`, and what
\`lib/proxy\` refuses after the codec (targets, Host, repeated fields). A slice with a fixed seed runs in \`make test\` (node:http) and \`make test-differential\` (Go, nginx).`;
