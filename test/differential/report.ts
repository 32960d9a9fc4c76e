/**
 * The table of a full run in docs/assurance.md, between two marks; all else of the page is others'.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { wrapMarkdown } from '../../lib/config/reference/wrap.ts';
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
const NEW_PAGE =
  '# Assurance\n\nWhat was run to find out whether the promises hold, and what came out.\n';

/** What a reader of something other than HTTP made of distorted inputs. */
export interface Read {
  readonly reader: string;
  readonly cases: number;
  readonly taken: number;
  readonly refused: number;
}

export function writeFindings(rows: readonly Row[], read: readonly Read[], run: Run): void {
  const page = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : NEW_PAGE;
  const section = `${BEGIN}\n\n## Fuzzing\n\n${findings(rows, read, run)}\n${END}`;
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  const whole =
    from < 0
      ? `${page.trimEnd()}\n\n${section}\n`
      : page.slice(0, from) + section + page.slice(to + END.length);
  writeFileSync(PAGE, whole);
}

interface Run {
  readonly seed: number;
  readonly seconds: number;
}

const number = (count: number): string => count.toLocaleString('en');

function findings(rows: readonly Row[], read: readonly Read[], { seed, seconds }: Run): string {
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
  const others = read.map(({ reader, cases, taken, refused }) => [
    reader,
    ...[cases, taken, refused].map(number),
  ]);
  const ran = `Last full run: seed ${seed}, ${seconds} seconds.`;
  const tables = [table(HEAD, cells, 2), table(READ_HEAD, others, 1)] as const;
  return wrapMarkdown(`${TEXT}\n\n${ran}\n\n${tables[0]}\n\n${READ_TEXT}\n\n${tables[1]}\n`);
}

/** The first `texts` columns are to the left, the others, which hold numbers, to the right. */
function table(
  head: readonly string[],
  cells: readonly (readonly string[])[],
  texts: number,
): string {
  const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
  const widths = head.map((name, at) =>
    Math.max(name.length, ...cells.map((row) => row[at]?.length ?? 0)),
  );
  const padded = (row: readonly string[]): string =>
    line(
      row.map((text, at) =>
        at < texts ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0),
      ),
    );
  const rule = line(
    widths.map((width, at) => (at < texts ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)),
  );
  return [padded(head), rule, ...cells.map(padded)].join('\n');
}

const HEAD = ['reader', 'messages', 'cases', 'same', 'its rules', 'us', 'both', 'other'];

const TEXT = `\`make fuzz\` makes messages of the HTTP/1.1 grammar and near it, a third of them
distorted as bytes (flips, splices, truncations, repetitions), and holds what \`lib/http1\` makes
of them against other readers: what we accept they must accept and read the same, in start line,
fields, body and trailers, and end at the same byte; what our own connections write they must read
as it was meant. The codec alone must say the same however the bytes arrive (cut at random, one
message of a hundred at every boundary), read again what it wrote as the same, and throw nothing
but a Fault. nginx is shown only what we accept, on kept connections with a second request behind
each message. A slice with a fixed seed runs in \`make test\` (node:http) and \`make
test-differential\` (Go, nginx).

The columns: read the same; refused by its rules, which are messages that the codec accepts and the
reader does not (methods it does not know, \`*\`, and targets, Host and repeated fields, which
\`lib/exchange\` refuses after the codec); refused by us alone; refused by both; read otherwise.`;

const READ_HEAD = ['reader of', 'cases', 'taken', 'refused by a Fault'];

const READ_TEXT = `Everything else that reads text or bytes from outside gets real inputs,
distorted: a value or a Fault within five seconds, and nothing else. Some of them throw nothing at
all: their answer says what is wrong.`;
