/**
 * Draws docs/request.svg from docs/picture.txt, on a grid, so that everything is aligned. The
 * colors follow the reader's light or dark scheme. Run as a program it writes the file; a test
 * compares it with what is committed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SIDE = 100;
const STEP = 114;
const GAP = 16;
const EDGE = 78;
const MARGIN = 18;
const ROWS = [52, 78, 104, 84, 52];
const BETWEEN = [58, 58, 40, 40];
const FRAME = { top: 34, bottom: 16 };

interface Box {
  readonly kind: string;
  readonly title: string;
  readonly words: readonly string[];
  readonly folders: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** First and last of `2-7`, or of `2`. */
function range(text: string): readonly [number, number] {
  const [first = 1, last = first] = text.split('-').map(Number);
  return [first, last];
}

/** Left and right edge of a column; the first and the last are outside of the sidecar. */
function column(number: number): readonly [number, number] {
  if (number === 1) return [MARGIN, MARGIN + SIDE];
  const first = MARGIN + SIDE + EDGE;
  if (number === 8) {
    const left = first + 6 * STEP + 5 * GAP + EDGE;
    return [left, left + SIDE];
  }
  const left = first + (number - 2) * (STEP + GAP);
  return [left, left + STEP];
}

function row(number: number): readonly [number, number] {
  let top = MARGIN;
  for (let i = 0; i < number - 1; i++) top += (ROWS[i] ?? 0) + (BETWEEN[i] ?? 0);
  return [top, top + (ROWS[number - 1] ?? 0)];
}

function place(columns: string, rows: string): Pick<Box, 'x' | 'y' | 'width' | 'height'> {
  const [[left], [, right]] = [column(range(columns)[0]), column(range(columns)[1])];
  const [[top], [, bottom]] = [row(range(rows)[0]), row(range(rows)[1])];
  return { x: left, y: top, width: right - left, height: bottom - top };
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const text = (kind: string, x: number, y: number, words: string): string =>
  `<text class="${kind}" x="${x}" y="${y}">${escaped(words)}</text>`;

/** Title, words and folders in the middle of the box. */
function drawBox({ kind, title, words, folders, x, y, width, height }: Box): string {
  const lines = [
    { kind: 'title', words: title, above: 18 },
    ...words.map((line, i) => ({ kind: 'words', words: line, above: i === 0 ? 18 : 16 })),
    ...(folders === '' ? [] : [{ kind: 'folder', words: folders, above: 19 }]),
  ];
  const tall = lines.reduce((sum, { above }) => sum + above, 0);
  let at = y + (height - tall) / 2 - 4;
  const middle = x + width / 2;
  const drawn = lines.map((line) => text(line.kind, middle, (at += line.above), line.words));
  return [
    `<rect class="${kind}" x="${x}" y="${y}" width="${width}" height="${height}" rx="8"/>`,
    ...drawn,
  ].join('\n');
}

/** The middle of what two ranges share, or of the shorter. */
function shared(a: readonly [number, number], b: readonly [number, number]): number {
  const [low, high] = [Math.max(a[0], b[0]), Math.min(a[1], b[1])];
  return (low + high) / 2;
}

function drawArrow(kind: string, a: Box, b: Box, words: string): string {
  const y = shared([a.y, a.y + a.height], [b.y, b.y + b.height]);
  const x = shared([a.x, a.x + a.width], [b.x, b.x + b.width]);
  const down = a.y + a.height < b.y;
  const up = b.y + b.height < a.y;
  const right = a.x + a.width < b.x;
  const [x1, x2] = right ? [a.x + a.width, b.x - 2] : [a.x, b.x + b.width + 2];
  const [y1, y2] = up ? [a.y, b.y + b.height + 2] : [a.y + a.height, b.y - 2];
  const path = down || up ? `M${x} ${y1}V${y2}` : `M${x1} ${y}H${x2}`;
  // Beside the frame, whose edge the line crosses.
  const middle = (x1 + x2) / 2 + (Math.max(x1, x2) < column(4)[0] ? -GAP / 2 : GAP / 2);
  const label =
    down || up
      ? text('label start', x + 8, (y1 + y2) / 2 + 3, words)
      : text('label', middle, y - 8, words);
  const drawn = `<path class="${kind}" d="${path}" marker-end="url(#${kind})"/>`;
  return words === '' ? drawn : drawn + label;
}

/** Lines from below each box to one that goes down into the last. */
function drawJoin(from: readonly Box[], to: Box, words: string): string {
  const meet = to.y - 30;
  const into = to.x + to.width / 2;
  const lines = from.map((box) => {
    const x = box.x + box.width / 2;
    return `M${x} ${box.y + box.height}V${meet}H${into}`;
  });
  const last = from.at(-1) ?? to;
  return [
    `<path class="plain" d="${lines.join('')}"/>`,
    `<path class="plain" d="M${into} ${meet}V${to.y - 2}" marker-end="url(#plain)"/>`,
    text('label', (into + last.x + last.width / 2) / 2, meet - 7, words),
  ].join('\n');
}

const STYLE = `
svg{--page:#ffffff;--ink:#1f2328;--soft:#57606a;--line:#8c959f;--edge:#d0d7de;--frame:#f6f8fa;
--part:#ffffff;--step:#0b6e75;--main:#0b6e75;--back:#bc4c00;--on:#ffffff;--onsoft:#cdeef0}
@media (prefers-color-scheme:dark){svg{--page:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#6e7681;
--edge:#30363d;--frame:#151b23;--part:#0d1117;--step:#0f5a61;--main:#3fb6bf;--back:#e0823d;
--on:#ffffff;--onsoft:#b9e3e6}}
text{font-family:-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;text-anchor:middle;
fill:var(--ink)}
.page{fill:var(--page)}.frame{fill:var(--frame);stroke:var(--edge)}
.outside{fill:var(--page);stroke:var(--line);stroke-dasharray:4 3}
.part{fill:var(--part);stroke:var(--edge)}.step{fill:var(--step)}
.title{font-size:14px;font-weight:600}.words{font-size:12px;fill:var(--soft)}
.folder{font:11px ui-monospace,SFMono-Regular,Menlo,monospace;fill:var(--soft)}
.label{font-size:12px;fill:var(--soft)}.start{text-anchor:start}
.name{font-size:13px;font-weight:600;text-anchor:start;fill:var(--soft)}
path{fill:none;stroke-width:1.5;stroke-linejoin:round}
.plain{stroke:var(--line)}.main{stroke:var(--main);stroke-width:2.5}
.back{stroke:var(--back);stroke-dasharray:5 4}
g.inverse .title{fill:var(--on)}g.inverse .words,g.inverse .folder{fill:var(--onsoft)}
.plainhead{fill:var(--line)}.mainhead{fill:var(--main)}.backhead{fill:var(--back)}
`;

const marker = (kind: string): string =>
  `<marker id="${kind}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="8" markerHeight="8" ` +
  `markerUnits="userSpaceOnUse" orient="auto">` +
  `<path class="${kind}head" d="M0 0L8 4L0 8Z"/></marker>`;

const parts = (line: string): readonly string[] => line.split('|').map((part) => part.trim());

/** The picture that the text describes. */
export function draw(source: string): string {
  const boxes = new Map<string, Box>();
  const box = (name = ''): Box => {
    const found = boxes.get(name);
    if (found === undefined) throw new TypeError(`no box ${name}`);
    return found;
  };
  const [lines, drawn]: [string[], string[]] = [[], []];
  let name = '';
  for (const line of source.replaceAll(/\n +/g, ' ').split('\n')) {
    const [head = '', words = '', second = '', folders = ''] = parts(line);
    const [what, kind = '', from = '', to = '', rows = ''] = head.split(/\s+/);
    if (what === 'title') name = line.slice(6);
    if (what === 'frame') drawn.push(drawFrame(kind, from, to));
    if (what === 'box') {
      const text = { title: words, words: second.split(' / '), folders };
      const made = { kind, ...text, ...place(to, rows) };
      boxes.set(from, made);
      drawn.push(kind === 'step' ? `<g class="inverse">${drawBox(made)}</g>` : drawBox(made));
    }
    if (what === 'note') drawn.push(drawNote(place(kind, from), words.split(' / ')));
    if (what === 'arrow') lines.push(drawArrow(kind, box(from), box(to), words));
    if (what === 'join') {
      const [left = '', right = ''] = head.slice(5).split('>');
      const sources = left.trim().split(/\s+/).map(box);
      lines.push(drawJoin(sources, box(right.trim()), words));
    }
  }
  const [width, height] = [column(8)[1] + MARGIN, row(5)[1] + MARGIN];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
      `width="${width}" height="${height}" role="img" aria-label="${escaped(name)}">`,
    '<!-- Drawn by `make docs` from docs/picture.txt. Do not edit. -->',
    `<style>${STYLE}</style>`,
    `<defs>${['plain', 'main', 'back'].map(marker).join('')}</defs>`,
    `<rect class="page" width="${width}" height="${height}" rx="12"/>`,
    ...drawn,
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}

function drawNote({ x, y }: Pick<Box, 'x' | 'y'>, lines: readonly string[]): string {
  return lines.map((line, i) => text('label start', x, y + 21 + i * 19, line)).join('\n');
}

function drawFrame(name: string, columns: string, rows: string): string {
  const { x, y, width, height } = place(columns, rows);
  const [left, top] = [x - GAP, y - FRAME.top];
  return (
    `<rect class="frame" x="${left}" y="${top}" width="${width + 2 * GAP}" ` +
    `height="${height + FRAME.top + FRAME.bottom}" rx="12"/>\n` +
    text('name', x + 1, top + 22, name)
  );
}

if (import.meta.main) {
  const source = readFileSync(join(import.meta.dirname, 'picture.txt'), 'utf8');
  writeFileSync(join(import.meta.dirname, 'request.svg'), draw(source));
}
