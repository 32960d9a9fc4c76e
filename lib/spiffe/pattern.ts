/**
 * Who a peer may be: a SPIFFE ID, or one with globs in whole path segments. Never a regular
 * expression, never a prefix of a string.
 *
 *   pattern = "spiffe://" trust-domain *( "/" ( segment / "*" ) ) [ "/**" ]
 *
 * `*` is exactly one segment, `**` is one or more and stands only at the end; neither is part of a
 * segment (`api-*`) nor in the trust domain, so every pattern belongs to one trust domain.
 * Comparison is byte for byte (SPIFFE-ID section 2.4).
 */
import { Fault } from '../base/fault.ts';
import { MAX_SPIFFE_ID, parseSpiffeId, pathOf, problemOfSegment, trustDomainOf } from './id.ts';
import type { SpiffeId } from './id.ts';
import { problemOfTrustDomain, quoted } from './trust-domain.ts';
import type { TrustDomain } from './trust-domain.ts';

export interface PeerPattern {
  /** As it was written. */
  readonly text: string;
  readonly trustDomain: TrustDomain;
  matches(id: SpiffeId): boolean;
}

const SCHEME = 'spiffe://';
const HINT = 'globs are whole path segments: spiffe://example.org/ns/*/sa/api, or /** at the end';

function refuse(text: string, problem: string, hint = HINT): never {
  throw new Fault('bad-pattern', `${quoted(text)} is not a pattern of SPIFFE IDs: ${problem}`, {
    hint,
  });
}

function checkSegments(text: string, segments: readonly string[]): void {
  for (const [index, segment] of segments.entries()) {
    if (segment === '*') continue;
    if (segment === '**') {
      if (index !== segments.length - 1) refuse(text, '"**" may only be the last segment');
      continue;
    }
    if (segment.includes('*'))
      refuse(text, `"*" must be a whole segment, not a part of ${quoted(segment)}`);
    const problem = problemOfSegment(segment);
    if (problem !== undefined) refuse(text, problem);
  }
}

function segmentMatcher(prefix: string, segments: readonly string[]): (id: SpiffeId) => boolean {
  const open = segments.at(-1) === '**';
  const fixed = open ? segments.slice(0, -1) : segments;
  return (id) => {
    if (!id.startsWith(prefix)) return false;
    const got = id.slice(prefix.length).split('/');
    if (open ? got.length <= fixed.length : got.length !== fixed.length) return false;
    return fixed.every((wanted, index) => wanted === '*' || wanted === got[index]);
  };
}

/**
 * Parses a pattern of peers. An exact SPIFFE ID must have a path: the ID of a trust domain itself
 * is never a workload's (X509-SVID section 3.1).
 * @throws Fault `bad-pattern`
 */
export function parsePeerPattern(text: string): PeerPattern {
  if (!text.includes('*')) {
    const id = exact(text);
    return Object.freeze({
      text,
      trustDomain: trustDomainOf(id),
      matches: (other: SpiffeId) => other === id,
    });
  }
  if (text.length > MAX_SPIFFE_ID) refuse(text, `it is longer than ${MAX_SPIFFE_ID} bytes`);
  if (!text.startsWith(SCHEME)) refuse(text, 'it does not begin with "spiffe://"');
  const slash = text.indexOf('/', SCHEME.length);
  const name = text.slice(SCHEME.length, slash === -1 ? text.length : slash);
  if (name.includes('*'))
    refuse(text, 'there is no wildcard for the trust domain', 'write one pattern per trust domain');
  const problem = problemOfTrustDomain(name);
  if (problem !== undefined) refuse(text, problem);
  const segments = text.slice(slash + 1).split('/');
  checkSegments(text, segments);
  return Object.freeze({
    text,
    trustDomain: name as TrustDomain,
    matches: segmentMatcher(text.slice(0, slash + 1), segments),
  });
}

function exact(text: string): SpiffeId {
  let id: SpiffeId;
  try {
    id = parseSpiffeId(text);
  } catch (failure) {
    const fault = Fault.from(failure, 'bad-pattern');
    throw new Fault('bad-pattern', fault.message, { hint: fault.hint ?? HINT });
  }
  if (pathOf(id) === '') {
    refuse(
      text,
      'it has no path, so no workload can match it',
      `to allow the whole trust domain write ${text}/**`,
    );
  }
  return id;
}
