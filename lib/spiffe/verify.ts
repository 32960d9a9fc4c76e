/**
 * The X509-SVID profile (X509-SVID sections 3 to 5), on top of an established engine's path
 * validation and never instead of it: nothing here follows a signature or builds a path. Used alike
 * on what we are issued, on peers we dial and on peers that dial us. Each refusal names its
 * section.
 */
import type { X509Certificate } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import { certificateFacts } from './certificate.ts';
import type { CertificateFacts } from './certificate.ts';
import { parseSpiffeId, pathOf } from './id.ts';
import type { SpiffeId } from './id.ts';

function refuse(problem: string, section: string, hint?: string): never {
  throw new Fault(
    'bad-svid',
    `${problem} (X509-SVID section ${section})`,
    hint === undefined ? {} : { hint },
  );
}

/** Sections 2 and 3.1: one URI name, a SPIFFE ID with a path. */
function idOfLeaf(facts: CertificateFacts): SpiffeId {
  const [uri, ...more] = facts.uris;
  if (uri === undefined)
    refuse('the leaf has no URI name', '2', 'it is no X.509-SVID: an ordinary certificate?');
  if (more.length > 0)
    refuse(`the leaf has ${facts.uris.length} URI names where exactly one is allowed`, '2');
  const id = spiffeIdIn(uri);
  if (pathOf(id) === '') refuse(`the leaf's SPIFFE ID ${id} has no path`, '3.1');
  if (facts.subjectEmpty && !facts.namesCritical) {
    refuse(
      'the leaf has an empty subject and a subject alternative name that is not critical',
      '3.1',
    );
  }
  return id;
}

function spiffeIdIn(uri: string): SpiffeId {
  try {
    return parseSpiffeId(uri);
  } catch (failure) {
    throw new Fault(
      'bad-svid',
      `${Fault.from(failure, 'bad-svid').message} (X509-SVID section 3.1)`,
      {
        cause: failure,
      },
    );
  }
}

/** Sections 4.1, 4.3 and 4.4: a leaf that cannot sign others. */
function checkLeafUse({ ca, keyUsage, purposes }: CertificateFacts): void {
  if (ca) refuse('the leaf is a CA certificate', '4.1');
  if (keyUsage === undefined) refuse('the leaf has no key usage', '4.3');
  if (keyUsage.keyCertSign) refuse('the leaf may sign certificates (keyCertSign)', '4.3');
  if (keyUsage.cRLSign) refuse('the leaf may sign revocation lists (cRLSign)', '4.3');
  if (!keyUsage.digitalSignature) refuse('the leaf may not sign (no digitalSignature)', '4.3');
  if (!keyUsage.critical) refuse("the leaf's key usage is not critical", '4.3');
  if (purposes !== undefined && !(purposes.serverAuth && purposes.clientAuth)) {
    refuse("the leaf's extended key usage is not both serverAuth and clientAuth", '4.4');
  }
}

/**
 * Sections 3.2, 4.1 and 4.3. An issuer may be of another trust domain than what it issues. A name
 * that is not a SPIFFE ID at all is not our business: CAs spell theirs in many ways.
 */
function checkIssuer(certificate: X509Certificate): void {
  const { ca, keyUsage, uris } = certificateFacts(certificate);
  if (!ca) refuse('an intermediate is no CA certificate', '4.1');
  if (keyUsage?.keyCertSign !== true)
    refuse('an intermediate may not sign certificates (no keyCertSign)', '4.3');
  if (!keyUsage.critical) refuse("an intermediate's key usage is not critical", '4.3');
  for (const uri of uris) {
    const id = asSpiffeId(uri);
    if (id !== undefined && pathOf(id) !== '') {
      refuse(`an intermediate has the SPIFFE ID ${id}, with a path`, '3.2');
    }
  }
}

/**
 * Those of `sent` that may be on a path from the leaf: whoever may have issued it, and so on. What
 * else a peer sends along (RFC 8446 section 4.4.2) says nothing of it, and neither does a copy of
 * an anchor, which is trusted for other reasons than its form (RFC 5280 section 6.1.1).
 */
function issuersOf(
  leaf: X509Certificate,
  sent: readonly X509Certificate[],
  anchors: readonly X509Certificate[],
): readonly X509Certificate[] {
  const trusted = new Set(
    sent.length === 0 ? [] : anchors.map(({ fingerprint256 }) => fingerprint256),
  );
  const found = [leaf];
  let left = sent.filter(({ fingerprint256 }) => !trusted.has(fingerprint256));
  for (const one of found) {
    found.push(
      ...left.filter((issuer) => one.issuer === issuer.subject || one.checkIssued(issuer)),
    );
    left = left.filter((issuer) => !found.includes(issuer));
  }
  return found.slice(1);
}

function asSpiffeId(uri: string): SpiffeId | undefined {
  try {
    return parseSpiffeId(uri);
  } catch {
    return undefined;
  }
}

/**
 * The SPIFFE ID of a leaf that keeps the profile; its dates and its path are not looked at.
 * @throws Fault `bad-svid`
 */
export function verifyLeaf(leaf: X509Certificate): SpiffeId {
  const facts = certificateFacts(leaf);
  const id = idOfLeaf(facts);
  checkLeafUse(facts);
  return id;
}

export interface ChainOptions {
  /** Milliseconds by which the leaf's start may lie ahead: clocks differ. Default 0. */
  readonly skew?: number;
  /** Those that the chain leads to. */
  readonly anchors?: readonly X509Certificate[];
}

/**
 * The SPIFFE ID of a chain (leaf first, as sent) whose path an engine has validated already:
 * profile of every certificate that may be on it, and the leaf's dates at `now` (milliseconds since
 * the epoch).
 * @throws Fault `bad-svid`
 */
export function verifyChainProfile(
  chain: readonly X509Certificate[],
  now: number,
  { skew = 0, anchors = [] }: ChainOptions = {},
): SpiffeId {
  const [leaf, ...sent] = chain;
  if (leaf === undefined) throw new Fault('bad-svid', 'there is no certificate');
  const id = verifyLeaf(leaf);
  const [notBefore, notAfter] = [leaf.validFromDate, leaf.validToDate];
  if (now >= notAfter.getTime()) refuse(`the leaf expired at ${notAfter.toISOString()}`, '5.1');
  if (now < notBefore.getTime() - skew) {
    refuse(
      `the leaf is not valid before ${notBefore.toISOString()}`,
      '5.1',
      'compare the clocks of both hosts',
    );
  }
  for (const issuer of issuersOf(leaf, sent, anchors)) checkIssuer(issuer);
  return id;
}
