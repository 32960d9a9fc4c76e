/**
 * What servers make of the name of a parameter or of a member: names that some of them take for one
 * have a fold in common.
 */

/**
 * Letter case, `_`, `-`, dots and blanks, brackets and what is in them (PHP, Rack), widths (NFKC),
 * characters that are not seen, escapes that are undone once more. An unclosed bracket is a `_` for
 * PHP, and an end for others. Letters are one where their capitals are (`equalsIgnoreCase` of
 * Java): U+0131 is an I, and so is U+0130.
 */
export function foldsOf(name: string): readonly string[] {
  const seen = undone(name)
    .normalize('NFKC')
    .replaceAll('\u0130', 'i')
    .toUpperCase()
    .toLowerCase()
    .replace(UNSEEN, (one) => (one === '\t' || one === '\n' || one === '\r' ? ' ' : ''));
  const bare = seen.replace(/^[\s[\]]+/, '');
  const cut = joined(bare.split(/[[\]]/, 1)[0] ?? '');
  return bare.includes('[') && !bare.includes(']')
    ? [cut, joined(bare.replaceAll('[', '-'))]
    : [cut];
}

/** Control characters, and what is drawn by nobody (Unicode, Default_Ignorable_Code_Point). */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * Of a parameter besides: a `?` before it, which URLSearchParams takes off, and the `$` of OData,
 * which may be left out (OData 4.01 part 1, section 11.2.1).
 */
export function parameterFoldsOf(name: string): readonly string[] {
  return foldsOf(name.replace(/^\s*[?$]+/, ''));
}

/** The name in one part of a query, decoded as HTML forms are. */
export function parameterName(part: string): string {
  return undone((part.split('=', 1)[0] ?? '').replaceAll('+', ' '));
}

function joined(name: string): string {
  return name.replace(/[\s._-]+/g, '-').replace(/^-+|-+$/g, '');
}

function undone(name: string): string {
  if (!name.includes('%')) return name;
  try {
    return decodeURIComponent(name);
  } catch {
    return name.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  }
}
