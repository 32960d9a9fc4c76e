/**
 * SPIFFE IDs (SPIFFE-ID section 2): `spiffe://<trust domain>[/<segment>...]`. A scanner over
 * character codes, as URL parsers fold case, resolve dot segments and decode percent escapes, each
 * of which would make two spellings of one identity. What is accepted is already canonical: two IDs
 * are equal if and only if their strings are.
 */
import { Fault } from '../base/fault.ts';
import { isTrustDomainCode, problemOfTrustDomain, quoted } from './trust-domain.ts';
import type { TrustDomain } from './trust-domain.ts';

declare const brand: unique symbol;

/** A valid SPIFFE ID, at most 2048 bytes. Comes only from its parser. */
export type SpiffeId = string & { readonly [brand]: 'SpiffeId' };

/** SPIFFE-ID section 2.3. */
export const MAX_SPIFFE_ID = 2048;

const SCHEME = 'spiffe://';
const SLASH = 0x2f;

/** `a-z A-Z 0-9 . - _` (SPIFFE-ID section 2.2). */
function isSegmentCode(code: number): boolean {
  return isTrustDomainCode(code) || (code >= 0x41 && code <= 0x5a);
}

/** What is wrong with one path segment, or undefined when nothing is. */
export function problemOfSegment(segment: string): string | undefined {
  if (segment === '') return 'the path has an empty segment';
  if (segment === '.' || segment === '..') return 'the path has a "." or ".." segment';
  for (let at = 0; at < segment.length; at += 1) {
    if (!isSegmentCode(segment.charCodeAt(at))) {
      return 'a path segment may hold only letters, digits, ".", "-" and "_"';
    }
  }
  return undefined;
}

/** What is wrong with a path, which is empty or `/segment[/segment...]`. */
function problemOfPath(path: string): string | undefined {
  if (path === '') return undefined;
  if (path.charCodeAt(path.length - 1) === SLASH) return 'it ends with a "/"';
  for (const segment of path.slice(1).split('/')) {
    const problem = problemOfSegment(segment);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function problemOf(text: string): string | undefined {
  if (text.length > MAX_SPIFFE_ID) return `it is longer than ${MAX_SPIFFE_ID} bytes`;
  if (!text.startsWith(SCHEME)) return 'it does not begin with "spiffe://"';
  const slash = text.indexOf('/', SCHEME.length);
  const end = slash === -1 ? text.length : slash;
  return problemOfTrustDomain(text.slice(SCHEME.length, end)) ?? problemOfPath(text.slice(end));
}

/**
 * Parses a SPIFFE ID; a path is optional (without one it names the trust domain itself).
 * @throws Fault `bad-spiffe-id`
 */
export function parseSpiffeId(text: string): SpiffeId {
  const problem = problemOf(text);
  if (problem === undefined) return text as SpiffeId;
  throw new Fault('bad-spiffe-id', `${quoted(text)} is not a SPIFFE ID: ${problem}`, {
    hint: 'write it as spiffe://example.org/path/of/workload',
  });
}

/** Where the path begins; the length of the text when there is none. */
function pathStart(id: SpiffeId): number {
  const slash = id.indexOf('/', SCHEME.length);
  return slash === -1 ? id.length : slash;
}

export function trustDomainOf(id: SpiffeId): TrustDomain {
  return id.slice(SCHEME.length, pathStart(id)) as TrustDomain;
}

/** `/path/of/workload`, or '' for the ID of a trust domain. */
export function pathOf(id: SpiffeId): string {
  return id.slice(pathStart(id));
}

/** The SPIFFE ID of the trust domain itself, `spiffe://example.org`. */
export function idOfTrustDomain(trustDomain: TrustDomain): SpiffeId {
  return `${SCHEME}${trustDomain}` as SpiffeId;
}

/**
 * A trust domain written either as its SPIFFE ID (as the Workload API's map keys are, Workload API
 * section 5.2) or as its bare name.
 * @throws Fault `bad-spiffe-id`, also for an ID with a path
 */
export function parseTrustDomainKey(text: string): TrustDomain {
  const id = parseSpiffeId(text.startsWith(SCHEME) ? text : `${SCHEME}${text}`);
  if (pathOf(id) === '') return trustDomainOf(id);
  throw new Fault('bad-spiffe-id', `${quoted(text)} is not a trust domain: it has a path`, {
    hint: 'write spiffe://example.org or example.org',
  });
}
