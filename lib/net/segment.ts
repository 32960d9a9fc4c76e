/**
 * One segment of a path pattern, and how two of them compare: for matching, and for reading
 * policies against each other.
 */
import { octets } from './path.ts';

/**
 * What must stand in a segment: literals, with one character or more between each two of them;
 * octets behind the escapes, one character each. `['']`: empty; `['', '']`: anything but empty;
 * `['', '.json']`: whatever ends so.
 */
export type Segment = readonly string[];

const ANY: Segment = Object.freeze(['', '']);

/** `*`, `{name}` with or without text beside it, or text. */
export function parseSegment(text: string): Segment {
  if (text === '*') return ANY;
  return Object.freeze(text.split(/\{[^}]*\}/).map(decodedSegment));
}

/** Octets behind the escapes, one character each. */
export function decodedSegment(segment: string): string {
  return segment.includes('%') ? octets(segment).toString('latin1') : segment;
}

/** `text` is decoded. */
export function segmentMatches(wanted: Segment, text: string): boolean {
  const first = wanted[0] ?? '';
  if (wanted.length === 1) return text === first;
  const last = wanted.at(-1) ?? '';
  const end = text.length - last.length;
  if (!text.startsWith(first) || !text.endsWith(last)) return false;
  let from = first.length + 1;
  // The first place for each literal in between leaves the most for those behind it.
  for (let i = 1; i < wanted.length - 1; i += 1) {
    const literal = wanted[i] ?? '';
    const at = text.indexOf(literal, from);
    if (at < 0) return false;
    from = at + literal.length + 1;
  }
  return from <= end;
}

/** Whether `wide` matches all that `narrow` does; may say no where that is hard to see. */
export function segmentIncludes(wide: Segment, narrow: Segment): boolean {
  if (narrow.length === 1) return segmentMatches(wide, narrow[0] ?? '');
  if (wide.length === 2)
    return (
      (narrow[0] ?? '').startsWith(wide[0] ?? '') && (narrow.at(-1) ?? '').endsWith(wide[1] ?? '')
    );
  return wide.length === narrow.length && wide.every((literal, i) => literal === narrow[i]);
}

/** Whether some segment matches both; may say yes where that is hard to see. */
export function segmentsMeet(a: Segment, b: Segment): boolean {
  if (a.length === 1) return segmentMatches(b, a[0] ?? '');
  if (b.length === 1) return segmentMatches(a, b[0] ?? '');
  const [start, end] = [a[0] ?? '', a.at(-1) ?? ''];
  const [first, last] = [b[0] ?? '', b.at(-1) ?? ''];
  return (
    (start.startsWith(first) || first.startsWith(start)) &&
    (end.endsWith(last) || last.endsWith(end))
  );
}
