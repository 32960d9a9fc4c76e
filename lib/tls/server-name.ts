/**
 * Whether a certificate is for the server that was asked for (RFC 9525): by subject alternative
 * name alone, never by common name; a wildcard is the whole left-most label, stands for one label,
 * and not over a top-level domain; an address is proved by an address. Path and dates are the
 * engine's.
 */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

const STRICT = Object.freeze({
  subject: 'never',
  wildcards: true,
  partialWildcards: false,
  multiLabelWildcards: false,
  singleLabelSubdomains: false,
});

function isFor(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  return certificate.checkHost(name, STRICT) !== undefined;
}

/**
 * For the engine, in place of its own rules, which take a common name and a wildcard within a
 * label: an error that fails the handshake.
 */
export function checkName(name: string, raw: Uint8Array): Error | undefined {
  if (isFor(new X509Certificate(raw), name)) return undefined;
  return Object.assign(new Error('the certificate is for another server'), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
}

/**
 * Whether an interception CA issued it, of this sidecar or of another: it vouches to programs,
 * never to us.
 */
export function isStandIn({ issuer }: X509Certificate): boolean {
  return issuer.split('\n').includes(STAND_IN);
}

/** Organisation of every interception CA's subject. */
export const STAND_IN = 'O=Chaperone interception';
