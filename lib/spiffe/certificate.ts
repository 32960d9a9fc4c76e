/**
 * What the X509-SVID profile asks of a certificate, read from its DER. node:crypto cannot say it:
 * its `keyUsage` is the extended one, its `subjectAltName` is a joined string that must never be
 * split, and it knows nothing of criticality. General X.509 libraries refuse whole certificates for
 * names that SPIFFE does not care about. The engine has parsed these bytes already; the walk here
 * only picks from them, refuses what is not DER, and refuses an extension that stands twice (RFC
 * 5280 section 4.2), of which readers could take different ones.
 */
import { X509Certificate } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import type { Code } from '../base/fault.ts';
import { DerError, elements, only, TAG } from './der.ts';

interface KeyUsage {
  readonly critical: boolean;
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
  readonly cRLSign: boolean;
}

export interface CertificateFacts {
  readonly subjectEmpty: boolean;
  /** cA of basic constraints; false when the extension is absent. */
  readonly ca: boolean;
  readonly keyUsage: KeyUsage | undefined;
  /** Extended key usage; undefined when the extension is absent. */
  readonly purposes: { readonly serverAuth: boolean; readonly clientAuth: boolean } | undefined;
  /**
   * URI names of the subject alternative name, as bytes read as Latin-1, so that nothing is folded.
   */
  readonly uris: readonly string[];
  readonly namesCritical: boolean;
}

interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/**
 * The extensions of a certificate by the hexadecimal content of their OID (RFC 5280 section 4.1).
 */
function extensionsOf(tbs: Uint8Array): ReadonlyMap<string, Extension> {
  const found = new Map<string, Extension>();
  const field = elements(tbs).find(({ tag }) => tag === 0xa3);
  if (field === undefined) return found;
  for (const { content } of elements(only(field.content, TAG.sequence).content)) {
    const parts = elements(content);
    const [oid, value] = [parts[0], parts.at(-1)];
    if (oid?.tag !== TAG.oid || value?.tag !== TAG.octetString)
      throw new DerError('it has a broken extension');
    const name = Buffer.from(oid.content).toString('hex');
    if (found.has(name)) throw new DerError('it has one extension twice');
    const critical =
      parts.length === 3 && parts[1]?.tag === TAG.boolean && parts[1].content[0] !== 0;
    found.set(name, { critical, value: value.content });
  }
  return found;
}

const OID = Object.freeze({
  keyUsage: '551d0f',
  alternativeNames: '551d11',
  basicConstraints: '551d13',
  extendedKeyUsage: '551d25',
  serverAuth: '2b06010505070301',
  clientAuth: '2b06010505070302',
});

/** Tag of uniformResourceIdentifier in GeneralName (RFC 5280 section 4.2.1.6). */
const URI_NAME = 0x86;

function keyUsageOf({ critical, value }: Extension): KeyUsage {
  const bits = only(value, TAG.bitString).content[1] ?? 0;
  return {
    critical,
    digitalSignature: (bits & 0x80) !== 0,
    keyCertSign: (bits & 0x04) !== 0,
    cRLSign: (bits & 0x02) !== 0,
  };
}

function isCa({ value }: Extension): boolean {
  const [first] = elements(only(value, TAG.sequence).content);
  return first?.tag === TAG.boolean && first.content[0] !== 0;
}

function purposesOf({ value }: Extension): NonNullable<CertificateFacts['purposes']> {
  const oids = elements(only(value, TAG.sequence).content).map(({ content }) =>
    Buffer.from(content).toString('hex'),
  );
  return { serverAuth: oids.includes(OID.serverAuth), clientAuth: oids.includes(OID.clientAuth) };
}

function urisOf({ value }: Extension): string[] {
  return elements(only(value, TAG.sequence).content)
    .filter(({ tag }) => tag === URI_NAME)
    .map(({ content }) => Buffer.from(content).toString('latin1'));
}

function isSubjectEmpty(tbs: Uint8Array): boolean {
  const fields = elements(tbs).filter(({ tag }) => tag !== 0xa0);
  // serialNumber, signature, issuer, validity, subject (RFC 5280 section 4.1).
  const subject = fields[4];
  if (subject?.tag !== TAG.sequence) throw new DerError('it has no subject');
  return subject.content.length === 0;
}

function read(der: Uint8Array): CertificateFacts {
  const [tbs] = elements(only(der, TAG.sequence).content);
  if (tbs?.tag !== TAG.sequence) throw new DerError('it has no body');
  const extensions = extensionsOf(tbs.content);
  const [names, basic] = [
    extensions.get(OID.alternativeNames),
    extensions.get(OID.basicConstraints),
  ];
  const [usage, purposes] = [extensions.get(OID.keyUsage), extensions.get(OID.extendedKeyUsage)];
  return Object.freeze({
    subjectEmpty: isSubjectEmpty(tbs.content),
    ca: basic !== undefined && isCa(basic),
    keyUsage: usage && keyUsageOf(usage),
    purposes: purposes && purposesOf(purposes),
    uris: names === undefined ? [] : urisOf(names),
    namesCritical: names?.critical ?? false,
  });
}

/** @throws Fault `bad-svid` when the bytes are not DER throughout or an extension stands twice */
export function certificateFacts(certificate: X509Certificate): CertificateFacts {
  try {
    return read(certificate.raw);
  } catch (failure) {
    if (failure instanceof DerError)
      throw new Fault('bad-svid', `a certificate cannot be read: ${failure.message}`);
    throw failure;
  }
}

/**
 * Splits concatenated DER certificates (Workload API section 5.2), strictly: every byte belongs to
 * one. Empty input gives an empty list.
 * @throws Fault `code` with `what` as the subject of its message
 */
export function splitCertificates(der: Uint8Array, what: string, code: Code): X509Certificate[] {
  try {
    return elements(der).map(({ whole, tag }) => {
      if (tag !== TAG.sequence) throw new DerError('it holds something that is not a certificate');
      return new X509Certificate(whole);
    });
  } catch (failure) {
    const why = failure instanceof DerError ? failure.message : 'it holds a broken certificate';
    throw new Fault(code, `${what} is not a concatenation of DER certificates: ${why}`, {
      cause: failure,
    });
  }
}

/**
 * As `splitCertificates`, but a part that is no certificate is told and left out; when none is left
 * of what was there, it is thrown.
 * @throws Fault `bad-bundle` with `what` as the subject of its message
 */
export function splitReadable(
  der: Uint8Array,
  what: string,
  leftOut: (fault: Fault) => void,
): X509Certificate[] {
  const faults: Fault[] = [];
  const certificates = partsOf(der, what).flatMap((part) => {
    try {
      return splitCertificates(part, what, 'bad-bundle');
    } catch (failure) {
      faults.push(Fault.from(failure, 'bad-bundle'));
      return [];
    }
  });
  if (certificates.length === 0 && faults[0] !== undefined) throw faults[0];
  for (const fault of faults) leftOut(fault);
  return certificates;
}

function partsOf(der: Uint8Array, what: string): readonly Uint8Array[] {
  try {
    return elements(der).map(({ whole }) => whole);
  } catch (failure) {
    const why = failure instanceof DerError ? failure.message : String(failure);
    throw new Fault('bad-bundle', `${what} is not a concatenation of DER certificates: ${why}`);
  }
}
