/**
 * A trust store for Java: PKCS #12 (RFC 7292) with certificates and nothing else. Nothing in it is
 * secret, so nothing is encrypted and there is no password, and the file's mode guards it as it
 * guards a PEM file. Java takes a certificate for a trusted one by an attribute of its own
 * (trustedKeyUsage).
 */
import { sequence, tlv } from '../tls/der.ts';

/** DER of OBJECT IDENTIFIERs. */
const OID = Object.freeze({
  data: oid('2a864886f70d010701'),
  certBag: oid('2a864886f70d010c0a0103'),
  x509Certificate: oid('2a864886f70d01091601'),
  friendlyName: oid('2a864886f70d010914'),
  trustedKeyUsage: oid('6086480186f966adca7b0101'),
  anyExtendedKeyUsage: oid('551d2500'),
});

/** Name to DER certificate. */
export function trustStore(certificates: ReadonlyMap<string, Uint8Array>): Buffer {
  const bags = [...certificates].map(([name, der]) => bag(name, der));
  const contents = sequence(...bags);
  const safe = sequence(contentInfo(contents));
  return sequence(tlv(0x02, Buffer.from([3])), contentInfo(safe));
}

/** ContentInfo of type data (RFC 5652 section 4). */
function contentInfo(content: Uint8Array): Buffer {
  return sequence(OID.data, tlv(0xa0, tlv(0x04, content)));
}

function bag(name: string, certificate: Uint8Array): Buffer {
  const value = sequence(OID.x509Certificate, tlv(0xa0, tlv(0x04, certificate)));
  const attributes = [
    sequence(OID.friendlyName, tlv(0x31, tlv(0x1e, utf16(name)))),
    sequence(OID.trustedKeyUsage, tlv(0x31, OID.anyExtendedKeyUsage)),
  ];
  // A SET OF is in the order of its encodings (X.690 section 11.6).
  return sequence(
    OID.certBag,
    tlv(0xa0, value),
    tlv(0x31, Buffer.concat(attributes.sort((a, b) => a.compare(b)))),
  );
}

/** Big-endian, as a BMPString holds it. */
function utf16(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16();
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}
