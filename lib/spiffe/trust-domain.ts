/**
 * Trust domain names (SPIFFE-ID section 2.1). Scanned by character code: no URL parser, no folding
 * of case, no special treatment of names that look like DNS names or IPv4 addresses. Upper case is
 * refused, not lower-cased, so that equal names are equal strings.
 */
import { Fault } from '../base/fault.ts';

declare const brand: unique symbol;

/** A valid trust domain name; equal trust domains are equal strings. Comes only from its parser. */
export type TrustDomain = string & { readonly [brand]: 'TrustDomain' };

/** SPIFFE-ID section 2.3. */
const MAX_TRUST_DOMAIN = 255;

const DOT = 0x2e;
const DASH = 0x2d;
const UNDERSCORE = 0x5f;

/** `a-z 0-9 . - _` */
export function isTrustDomainCode(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) ||
    (code >= 0x30 && code <= 0x39) ||
    code === DOT ||
    code === DASH ||
    code === UNDERSCORE
  );
}

/** Printable form of what a user or a peer gave, cut short, never with control characters in it. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 117)}...` : text).replace(
    /[\u007f-\uffff]/g,
    '?',
  );
}

/** What is wrong with `name` as a trust domain, or undefined when nothing is. */
export function problemOfTrustDomain(name: string): string | undefined {
  if (name === '') return 'the trust domain is empty';
  if (name.length > MAX_TRUST_DOMAIN)
    return `the trust domain is longer than ${MAX_TRUST_DOMAIN} bytes`;
  for (let at = 0; at < name.length; at += 1) {
    const code = name.charCodeAt(at);
    if (isTrustDomainCode(code)) continue;
    if (code >= 0x41 && code <= 0x5a) return 'the trust domain has upper-case letters';
    return 'the trust domain may hold only a-z, 0-9, ".", "-" and "_"';
  }
  return undefined;
}

/**
 * Parses a bare trust domain name such as `example.org` (SPIFFE-ID section 2.1).
 * @throws Fault `bad-spiffe-id`
 */
export function parseTrustDomain(text: string): TrustDomain {
  const problem = problemOfTrustDomain(text);
  if (problem === undefined) return text as TrustDomain;
  throw new Fault('bad-spiffe-id', `${quoted(text)} is not a trust domain: ${problem}`, {
    hint: text.startsWith('spiffe://')
      ? 'write the bare name, such as example.org'
      : 'write a lower-case name such as example.org',
  });
}
