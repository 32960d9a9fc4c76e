/** How values of a record are written. */

export const MAX_TEXT = 1024;

/** Text from outside, no longer than `MAX_TEXT` characters and the mark that says so. */
export function cut<T extends string | undefined>(text: T): T | string {
  return text !== undefined && text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

type Values = Readonly<Record<string, string | number>>;

/** A map in order of its names, its text cut. */
export function sorted(values: Values): Values {
  return Object.fromEntries(
    Object.keys(values)
      .sort()
      .map((name) => [
        name,
        typeof values[name] === 'string' ? cut(values[name]) : (values[name] ?? ''),
      ]),
  );
}
