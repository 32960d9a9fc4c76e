/** Texts in the order of their code units, the same on every machine. */

export function sorted(texts: Iterable<string>): readonly string[] {
  return [...texts].toSorted(byText);
}

export function byText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
