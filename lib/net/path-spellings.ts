/** What servers may make of a path. */

/**
 * What servers may make of a path: lower case, without parameters, blanks and dots at ends of
 * segments; with dot segments as they are, and resolved. undefined where escapes have no end.
 */
export function spellingsOf(path: string): readonly string[] | undefined {
  let text = path;
  for (let round = 0; text.includes('%'); round += 1) {
    const undone = unescaped(text);
    if (undone === text) break;
    if (round === ROUNDS) return undefined;
    text = undone;
  }
  const [place = ''] = text.normalize('NFKC').split(/[?#\0]/, 1);
  const folded = place.toUpperCase().toLowerCase().replaceAll('\\', '/');
  const segments = folded
    .split('/')
    .map(bare)
    .filter((segment) => segment !== '');
  return [joined(segments.map(withoutEnd)), joined(resolved(segments).map(withoutEnd))];
}

function unescaped(text: string): string {
  return text
    .replaceAll(/%u([0-9a-f]{4})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    )
    .replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) =>
      Buffer.from(run.replaceAll('%', ''), 'hex').toString(),
    );
}

/** A segment without its parameters, and without what cannot be seen around it. */
function bare(segment: string): string {
  const [name = ''] = segment.split(';', 1);
  // eslint-disable-next-line no-control-regex
  return name.replaceAll(/[\u0000-\u0020\u007f]/g, '');
}

/** Some file systems do not see dots at an end. */
function withoutEnd(segment: string): string {
  return segment.replace(/\.+$/, '');
}

function resolved(segments: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (const segment of segments)
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
  return kept;
}

function joined(segments: readonly string[]): string {
  return `/${segments.filter((segment) => segment !== '').join('/')}`;
}

/** Escapes within escapes that are undone; a path with more of them may be anything. */
const ROUNDS = 4;
