/**
 * What is attacked, by row, and which part of an exchange each row bends. A row is owed at every
 * entry point that has one of its facets; coverage.ts holds the cases against this, and waivers.ts
 * says the few that are not owed.
 */
import type { Attack, Facet } from './case.ts';
import type { Entry } from './entries/entry.ts';

export interface Row {
  readonly id: string;
  readonly what: string;
  readonly facets: readonly Facet[];
}

const row = (id: string, what: string, ...facets: Facet[]): Row =>
  Object.freeze({ id, what, facets });

export const ROWS: readonly Row[] = Object.freeze([
  row('3.1', 'what the access matrix refuses', 'any'),
  // Who is asked for.
  row('A1', 'the SNI in a tunnel is not the host of the CONNECT, or there is none', 'hello'),
  row(
    'A2',
    'the request inside the TLS names another host than the tunnel (domain fronting)',
    'inside',
  ),
  row('A3', 'a later request of one connection names another host', 'later'),
  row('A4', 'target and Host differ, Host is there twice or not at all', 'authority'),
  row('A5', 'user information, backslash, fragment or query in the authority', 'authority'),
  row('A6', 'trailing dots, upper case, brackets', 'authority'),
  row('A7', 'names beyond ASCII and what folds into ASCII', 'authority'),
  row('A8', 'NUL, CR, LF and spaces in the host', 'authority'),
  row('A9', 'what a wildcard covers', 'authority'),
  row('A10', 'suffix of a name without a dot before it', 'authority'),
  row('A11', 'ports: malformed, out of range, unlisted', 'authority'),
  row('A12', 'encrypted ClientHello hides the name', 'hello'),
  row('A13', 'ClientHello split, fragmented, too long, not TLS', 'hello'),
  row('A14', 'the upstream is somebody else, or its certificate is not an X.509-SVID', 'peer'),
  row('A15', 'a connection of an identity that is gone is used again', 'peer'),
  row('C12', 'no identity, or an expired one', 'peer'),
  // Where it leads.
  row('S1', 'numeric hosts that resolvers read as addresses', 'authority'),
  row('S2', 'metadata, loopback, link-local and private addresses in an answer', 'address'),
  row('S3', 'the rest of the special-purpose registries in an answer', 'address'),
  row('S4', 'IPv4 in IPv6 clothes in an answer', 'address'),
  row('S5', 'zone identifiers', 'authority'),
  row('S6', 'DNS answers differently the second time', 'address'),
  row('S7', 'good and bad addresses in one answer', 'address'),
  row('S8', 'names that carry an address (nip.io)', 'address'),
  row('S9', 'search lists, names that do not exist, empty answers', 'address'),
  row('S10', 'a denied name is never asked for', 'authority'),
  row('S11', 'the destination leads to a listener of ours', 'any'),
  row('S12', 'redirects to elsewhere', 'answer'),
  row('S13', 'other schemes in the target', 'target'),
  row('S14', 'a proxy chosen by the agent', 'fields'),
  // Where a message ends.
  row('F1', 'Content-Length and Transfer-Encoding together, twice, or unreadable', 'body'),
  row('F2', 'other transfer codings, HTTP/1.0 with one, chunk extensions and grammar', 'body'),
  row('F3', 'a body where none belongs', 'body'),
  row('F4', 'bare LF, folded lines, space before the colon, control characters', 'head'),
  row('F5', 'a request behind a refused one', 'head'),
  row('F6', 'HTTP/2 fields that become something else in HTTP/1.1', 'h2'),
  row('F7', 'trailers that frame, route or authenticate', 'body'),
  row('F8', 'Expect, and floods of interim answers', 'body', 'answer'),
  row('F9', 'answers that are two, are framed twice, or switch unasked', 'answer'),
  row('F10', 'text of the agent that we repeat in answers', 'authority'),
  row('F11', 'fields that override method or path', 'fields'),
  row('F12', 'methods: unknown, lower-case, TRACE, CONNECT', 'method'),
  // Which fields.
  row('H1', 'fields that claim who is asking', 'fields'),
  row('H2', 'Connection nominates what must not be taken away', 'fields'),
  row('H3', 'Proxy-Authorization reaches the upstream', 'fields'),
  row('H4', 'hop-by-hop fields reach the upstream', 'fields'),
  row('H5', 'a field that asks for enforcement to be off', 'fields'),
  row('H6', 'fields that must be there once are there twice', 'fields'),
  row('H7', 'loops: Max-Forwards', 'fields', 'method'),
  row('H8', "the agent's Authorization beside a brokered credential", 'path'),
  row('H9', 'too many fields, too long fields, too long heads', 'head'),
  row('H10', 'a condition is given a field that is not sent', 'fields'),
  row('H11', 'a field in another spelling than the one that a condition reads', 'fields'),
  // Which path.
  row('P1', 'dot segments and backslashes, plain and escaped', 'path'),
  row('P2', 'runs of slashes', 'path'),
  row('P3', 'escaped slashes, control characters, bad escapes, too long', 'path'),
  row('P4', 'path parameters', 'path'),
  row('P5', 'case, trailing slash and spelling', 'path'),
  row('P6', 'queries', 'path'),
  row('P7', 'what was judged is what is sent', 'path'),
  row('P8', 'a parameter in another spelling than the one that a condition reads', 'path'),
  // Ways around.
  row('T1', 'a tunnel to a destination whose requests are judged', 'hello'),
  row('T2', 'plain HTTP where tunnels are watched', 'method'),
  row('T3', 'something else than TLS in a tunnel', 'hello'),
  row('T4', 'an upgrade past the rules', 'upgrade', 'fields'),
  row('T5', 'HTTP/2 on a port that speaks HTTP/1.1', 'fields'),
  row('T6', 'interception that is impossible', 'inside'),
  row('T7', 'certificates of the interception for names that were not decided', 'inside'),
  row('T8', 'the network without us', 'any'),
  row('T9', 'our own health pages through us', 'any'),
  // Messages to MCP servers.
  row('M1', 'names that are there twice', 'message'),
  row('M2', 'names in another letter case', 'message'),
  row('M3', 'batches', 'message'),
  row('M9', 'an argument in another spelling than the one that a condition reads', 'message'),
  row('M4', 'other media types and charsets', 'message'),
  row('M5', 'encoded bodies, and encoded answers', 'message'),
  row('M6', 'too long, too deep, no numbers, half characters', 'message'),
  row('M7', 'fields that say something else than the body', 'message'),
  row('M8', 'names of tools that look like others', 'message'),
  row('M10', 'unknown methods, and answers that nobody waits for', 'message'),
  row('M11', 'calls without a name, or with arguments that are none', 'message'),
  row('M12', 'streams that hide what is denied', 'message'),
  row('M13', 'sessions of somebody else', 'message'),
  row('M16', 'messages beside the endpoint, by a rule about HTTP', 'message'),
  // Tasks.
  row('G1', 'no task where one is required', 'any'),
  row(
    'G2',
    'a reference to a task that is not live, not one, or not the own one',
    'fields',
    'message',
  ),
  row('G3', 'what a task was not granted', 'fields'),
  row('G4', 'what waits for an approval that is not there', 'fields'),
  row('C5', 'secrets of tasks go no further', 'fields'),
  row('C6', 'a secret in any place of a message', 'fields', 'path', 'authority', 'message'),
  // What runs out.
  row('R1', 'slow heads and bodies, silent upstreams', 'head'),
  row('R2', 'more at one time than is allowed', 'any'),
  row('R3', 'an upstream that is stuck', 'answer'),
  row('R4', 'policies that cost time', 'path'),
  row('R5', 'evidence that cannot be written', 'any'),
  row('R6', 'records that are changed afterwards', 'any'),
  row('R7', 'text of the agent that steers a log or a terminal', 'authority'),
]);

const BY_ID: ReadonlyMap<string, Row> = new Map(ROWS.map((one) => [one.id, one]));

export function rowOf(id: string): Row {
  const found = BY_ID.get(id);
  if (found === undefined) throw new TypeError(`there is no row ${id} in rows.ts`);
  return found;
}

/** Whether the row can happen at this entry point at all. */
export function owed({ facets }: Row, entry: Entry): boolean {
  return facets.some((facet) => entry.facets.has(facet));
}

export function appliesTo(attack: Attack, entry: Entry): boolean {
  if (attack.only !== undefined && !attack.only.includes(entry.name)) return false;
  return entry.facets.has(attack.facet ?? rowOf(attack.row).facets[0] ?? 'any');
}
