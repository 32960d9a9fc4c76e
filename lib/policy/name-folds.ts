/** What servers make of the name of a parameter or of a member: names that some of them take for one have a fold in common. */

/**
 * Letter case, `_`, `-`, dots and blanks, brackets and what is in them (PHP, Rack), widths (NFKC), characters that are not seen, escapes that are undone once more.
 * An unclosed bracket is a `_` for PHP, and an end for others.
 */
export function foldsOf(name: string): readonly string[] {
  const seen = undone(name)
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[\p{Cc}\p{Cf}]/gu, (one) => (one === '\t' || one === '\n' || one === '\r' ? ' ' : ''));
  const bare = seen.replace(/^[\s[\]]+/, '');
  const cut = joined(bare.split(/[[\]]/, 1)[0] ?? '');
  return bare.includes('[') && !bare.includes(']') ? [cut, joined(bare.replaceAll('[', '-'))] : [cut];
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
    return name.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
}
