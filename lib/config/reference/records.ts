/** The reference page of the evidence records, from their table. */
import { RECORDS } from '../../audit/record.ts';
import type { Row } from '../../audit/row.ts';

const FORMS: Readonly<Record<Row['form'], string>> = Object.freeze({
  own: 'always',
  outside: 'always, cut',
  map: 'always, in order of name',
});

/** @param generated the line that says where the page comes from */
export function recordsPage(generated: string): string {
  const kinds = Object.entries(RECORDS).map(
    ([kind, { doc, rows }]) => `## ${kind}

${doc}

| field | there | |
|---|---|---|
${Object.entries(rows)
  .map(([name, row]) => line(name, row))
  .join('\n')}
`,
  );
  return `# Records

${generated}

Evidence is JSON Lines. Every record begins with \`time\`, RFC 3339 in UTC with milliseconds, and
\`kind\`; its other fields follow in the order of its table. What is in no table is in no record: no
header value, no query, no content, no key. Text marked as cut may come from outside; 1024
characters of it are kept.

${kinds.join('\n')}`;
}

function line(name: string, { form, required, doc }: Row): string {
  const there = required ? FORMS[form] : FORMS[form].replace('always', 'where known');
  return `| \`${name}\` | ${there} | ${doc.replaceAll('|', '\\|')} |`;
}
