/**
 * X.509-SVIDs as they are issued to us (Workload API section 5.2.1): parsed once, checked before
 * anything is done with them.
 */
import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import { splitCertificates } from './certificate.ts';
import { DerError, only, TAG } from './der.ts';
import { parseSpiffeId } from './id.ts';
import type { X509Svid } from './identity.ts';
import { LIMITS } from './limits.ts';
import { quoted } from './trust-domain.ts';
import { type ChainOptions, verifyChainProfile } from './verify.ts';

export interface X509SvidParts {
  readonly spiffeId: string;
  /** Concatenated DER: leaf first, then intermediates. */
  readonly certs: Uint8Array;
  /** Unencrypted PKCS#8, DER. */
  readonly key: Uint8Array;
  readonly hint: string;
}

/** Messages never tell anything of the key. */
function privateKeyOf(der: Uint8Array, id: string): KeyObject {
  try {
    const { whole } = only(der, TAG.sequence);
    return createPrivateKey({ key: Buffer.from(whole), format: 'der', type: 'pkcs8' });
  } catch (failure) {
    const why = failure instanceof DerError ? `: ${failure.message}` : '';
    throw new Fault('bad-svid', `the private key of ${id} is not one unencrypted PKCS#8 key${why}`);
  }
}

/**
 * Checks and parses one X.509-SVID: every certificate keeps the profile, the leaf is valid at `now`
 * (milliseconds since the epoch; or within the skew of `options`), the private key is the leaf's,
 * and `spiffeId` is what the leaf says. Whether the chain leads to its bundle is for a path
 * validator (lib/identity/chain.ts).
 * @throws Fault `bad-spiffe-id`, `bad-svid`
 */
export function parseX509Svid(
  { spiffeId, certs, key, hint }: X509SvidParts,
  now: number,
  options: ChainOptions = {},
): X509Svid {
  const id = parseSpiffeId(spiffeId);
  const chain = splitCertificates(certs, `the X.509-SVID of ${id}`, 'bad-svid');
  const [leaf] = chain;
  if (leaf === undefined) throw new Fault('bad-svid', `the X.509-SVID of ${id} has no certificate`);
  if (chain.length > LIMITS.chain) {
    throw new Fault(
      'bad-svid',
      `the X.509-SVID of ${id} has more than ${LIMITS.chain} certificates`,
    );
  }
  if (chain.slice(1).some(({ ca }) => !ca)) {
    throw new Fault(
      'bad-svid',
      `the X.509-SVID of ${id} has a certificate after its leaf that is no CA's`,
    );
  }
  if (Buffer.byteLength(hint) > LIMITS.hintBytes) {
    throw new Fault(
      'bad-svid',
      `the hint of ${id} is longer than ${LIMITS.hintBytes} bytes: ${quoted(hint)}`,
    );
  }
  const certified = verifyChainProfile(chain, now, options);
  if (certified !== id) {
    throw new Fault(
      'bad-svid',
      `the X.509-SVID that was issued as ${id} is a certificate of ${certified}`,
    );
  }
  const privateKey = privateKeyOf(key, id);
  if (!leaf.checkPrivateKey(privateKey)) {
    throw new Fault('bad-svid', `the private key of ${id} does not belong to its certificate`);
  }
  return Object.freeze({
    id,
    chain: Object.freeze(chain),
    privateKey,
    hint,
    notBefore: leaf.validFromDate.getTime(),
    notAfter: leaf.validToDate.getTime(),
    serial: leaf.serialNumber.toUpperCase(),
  });
}
