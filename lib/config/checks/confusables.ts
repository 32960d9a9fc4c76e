/**
 * Names of a policy that a reader takes for each other: letters of another script in a host (its
 * A-label is decoded), look-alikes (`0` and `o`, `rn` and `m`), one letter more, less, other or
 * swapped. Pairs are looked for among the hosts, and among the names, of different destinations;
 * what differs in a number alone is a series.
 */
import { domainToUnicode } from 'node:url';
import type { LintFinding } from '../../policy/review/lint.ts';
import type { Destination } from '../../policy/protocols/index.ts';

interface Named {
  readonly text: string;
  readonly of: Destination;
  readonly skeleton: string;
}

export function confusableNames(destinations: readonly Destination[]): readonly LintFinding[] {
  const hosts = destinations.flatMap((of) =>
    of.hosts.filter(({ kind }) => kind !== 'address').map(({ host }) => named(host, of)),
  );
  const names = destinations.map((of) => named(of.name, of));
  return [
    ...hosts.flatMap(foreign),
    ...pairs(hosts).map(([one, other]) => finding(one, other, 'host')),
    ...pairs(names).map(([one, other]) => finding(one, other, 'name')),
  ];
}

function named(text: string, of: Destination): Named {
  return { text, of, skeleton: skeleton(text) };
}

function finding(one: Named, other: Named, what: string): LintFinding {
  return {
    code: 'confusable-name',
    at: other.of.at,
    about: `destination ${other.of.name}`,
    message:
      `its ${what} ${shown(other.text)} is easily taken for ${shown(one.text)}, ` +
      (one.of.name === one.text ? 'another destination' : `a host of destination ${one.of.name}`) +
      ` (${one.of.at})`,
    fix: 'make sure that both are meant',
  };
}

function shown(text: string): string {
  const decoded = domainToUnicode(text);
  return decoded === text || decoded === '' ? text : `${text} (${decoded})`;
}

/** A host whose letters look like Latin ones and are not, or are of two scripts. */
function foreign({ text, of }: Named): readonly LintFinding[] {
  const decoded = domainToUnicode(text);
  const odd = decoded
    .split('.')
    .find(
      (label) =>
        !isAscii(label) &&
        (/[a-z]/.test(label)
          ? /\p{Script=Cyrillic}|\p{Script=Greek}/u.test(label)
          : isAscii(skeleton(label))),
    );
  if (odd === undefined) return [];
  const message = `its host ${text} reads ${decoded}, which looks like ${skeleton(decoded)}`;
  return [
    {
      code: 'confusable-name',
      at: of.at,
      about: `destination ${of.name}`,
      message,
      fix: 'make sure that it is meant',
    },
  ];
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

/**
 * Letters of other scripts that look like Latin ones, by what they look like (from Unicode's
 * confusables, the lower-case letters that hosts can have): a Latin letter and behind it those that
 * look like it.
 */
const LOOKS: ReadonlyMap<string, string> = new Map(
  'aаɑα bƅь cсϲ dԁɗ eеёҽ gɡց hһհ iіıιї jјϳ kκк lӏǀ mм nոпη oоοօσ pрρ qԛ rг sѕꜱ tтτ uυս vνѵ wԝω xхχ yуγү zᴢ'
    .split(' ')
    .flatMap(([latin = '', ...others]) => others.map((other) => [other, latin] as const)),
);

/** What is left of a name when look-alikes are one. */
export function skeleton(text: string): string {
  const decoded = text.includes('xn--') ? domainToUnicode(text) || text : text;
  const plain = isAscii(decoded) ? decoded : Array.from(decoded, latin).join('');
  return plain
    .replaceAll('rn', 'm')
    .replaceAll('vv', 'w')
    .replaceAll('0', 'o')
    .replaceAll(/[1i|]/g, 'l');
}

function latin(char: string): string {
  return LOOKS.get(char) ?? char.normalize('NFD').replaceAll(/\p{M}/gu, '');
}

function pairs(all: readonly Named[]): readonly (readonly [Named, Named])[] {
  const found: (readonly [Named, Named])[] = [];
  const known = new Map<string, Named[]>();
  for (const one of all) {
    const seen = new Set<Named>();
    for (const key of keysOf(one)) {
      const others = known.get(key) ?? [];
      for (const other of others) {
        if (seen.has(other) || other.of === one.of || !alike(other, one)) continue;
        seen.add(other);
        found.push([other, one]);
      }
      // A name that very many share a key with is a series, and pairs are named once.
      if (others.length < MAX_ALIKE) known.set(key, [...others, one]);
    }
  }
  return found;
}

const MAX_ALIKE = 16;

/**
 * Two names that are alike share one of these: their skeleton, or what is left when one letter is
 * taken out.
 */
function keysOf({ text, skeleton: bare }: Named): ReadonlySet<string> {
  const letters = Array.from(text);
  return new Set([bare, text, ...letters.map((_, i) => letters.toSpliced(i, 1).join(''))]);
}

const SHORTEST = 5;

function alike({ text: a, skeleton: bareA }: Named, { text: b, skeleton: bareB }: Named): boolean {
  if (a === b) return false;
  if (bareA === bareB) return !isSeries(a, b);
  const [one, other] = [a.split('.'), b.split('.')];
  if (one.length !== other.length) return false;
  const differing = one.flatMap((label, i) =>
    label === other[i] ? [] : [[label, other[i] ?? ''] as const],
  );
  const [pair] = differing;
  if (differing.length !== 1 || pair === undefined) return false;
  return (
    Math.min(...pair.map(({ length }) => length)) >= SHORTEST &&
    oneEdit(...pair) &&
    !isSeries(...pair)
  );
}

/** `shard-1` and `shard-2`, `zone-a` and `zone-b`, `node1` and `node12`. */
function isSeries(a: string, b: string): boolean {
  const stem = (text: string): string =>
    text.replaceAll(/\d+/g, '#').replaceAll(/(^|[-.])[a-z](?=$|[-.])/g, '$1#');
  return stem(a) === stem(b);
}

function oneEdit(a: string, b: string): boolean {
  const [short, long] = a.length <= b.length ? [a, b] : [b, a];
  let i = 0;
  while (i < short.length && short[i] === long[i]) i += 1;
  if (long.length - short.length === 1) return short.slice(i) === long.slice(i + 1);
  if (long.length !== short.length) return false;
  const swapped =
    short[i] === long[i + 1] &&
    short[i + 1] === long[i] &&
    short.slice(i + 2) === long.slice(i + 2);
  return swapped || short.slice(i + 1) === long.slice(i + 1);
}
