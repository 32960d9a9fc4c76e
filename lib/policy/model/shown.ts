/**
 * What of a request may be shown, in records, answers, reasons and explanations: bounded, and
 * without the places in which secrets are put (user information, query, fragment, parameters of a
 * segment). What is left out of a segment is `...`.
 */

const MAX_SHOWN = 200;

/** `text`, or its beginning. */
export function cut(text: string, longest = MAX_SHOWN): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

/** A canonical path; a `;`, which is escaped in it, begins parameters. */
export function shownPath(path: string): string {
  return path.includes('%3B') ? path.replace(/%3B[^/]*/g, '%3B...') : path;
}

/** A URI: scheme, host and path. */
export function shownUri(uri: string): string {
  const [place = ''] = uri.split(/[?#]/, 1);
  const [, scheme = '', authority = '', path = ''] =
    /^([^:/]*:)(?:\/\/([^/]*))?(.*)$/s.exec(place) ?? [];
  const slashes = place.startsWith(`${scheme}//`) ? '//' : '';
  // Nothing says what is a place and what is not in data: or mailto:.
  if (slashes === '' && !path.startsWith('/')) return `${scheme}...`;
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  return `${scheme}${slashes}${host}${path.replace(/(;|%3b)[^/]*/gi, '$1...')}`;
}

/** A query: names of its parameters, where they look like names. */
export function shownQuery(query: string): string {
  if (query.length < 2) return query;
  const shown = query
    .slice(1)
    .split('&')
    .map((part) => /^[A-Za-z][\w.[\]-]{0,31}(?==)/.exec(part)?.[0]);
  return cut(`?${shown.map((name) => (name === undefined ? '...' : `${name}=...`)).join('&')}`);
}

/** A target of an intent: a name or a host, and of what is a URL its place. */
export function shownTarget(target: string): string {
  if (target.includes('://')) return cut(shownUri(target));
  return cut(target.slice(target.lastIndexOf('@') + 1).replace(/[?#;].*/s, ''));
}
