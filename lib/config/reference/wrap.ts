/**
 * Markdown in lines of at most 100 characters: paragraphs and items of lists are joined and broken
 * anew; tables, headings, comments, fences and what is inside of them stay as they are. A code span
 * is never broken.
 */
const WIDTH = 100;
const KEPT = /^(?:\||#|<!--|```|$)/;
const ITEM = /^(?:- |\d+\. )/;

export function wrapMarkdown(text: string): string {
  const lines: string[] = [];
  let paragraph = '';
  let fenced = false;
  const flush = (): void => {
    if (paragraph !== '') lines.push(...wrap(paragraph));
    paragraph = '';
  };
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) fenced = !fenced;
    if (fenced || KEPT.test(line)) {
      flush();
      lines.push(line);
    } else if (ITEM.test(line) || paragraph === '') {
      flush();
      paragraph = line;
    } else paragraph += ` ${line.trim()}`;
  }
  flush();
  return lines.join('\n');
}

function wrap(paragraph: string): readonly string[] {
  const indent = ' '.repeat(ITEM.exec(paragraph)?.[0].length ?? 0);
  const lines: string[] = [];
  let line = '';
  for (const [word] of paragraph.matchAll(/(?:`[^`]*`|[^\s`])+/g)) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = indent + word;
    } else line += line === '' ? word : ` ${word}`;
  }
  return [...lines, line];
}
