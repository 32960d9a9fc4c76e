/**
 * What the clock alone forbids is not wrong: it may be used later, or once the clock is set right.
 * The clock is that of the wall, which may be moved at any time.
 */
import { Fault } from '../base/fault.ts';
import { splitCertificates } from '../spiffe/certificate.ts';
import { LIMITS } from './limits.ts';

/** Milliseconds since the epoch; `until` is not part of it. */
export interface Validity {
  readonly from: number;
  readonly until: number;
}

/**
 * Verdicts of the engine on a path of which a certificate is not valid now (an anchor, perhaps).
 */
const BY_THE_CLOCK = /\((CERT_NOT_YET_VALID|CERT_HAS_EXPIRED)\)/;

const ALWAYS: Validity = Object.freeze({ from: -Infinity, until: Infinity });

/**
 * Whether the clock may say something else: with the skew that is borne for what was issued to us.
 */
export function isTimely({ from, until }: Validity, now: number): boolean {
  return now >= from - LIMITS.skewMs && now < until;
}

/**
 * When a chain (DER after DER) that was refused with `fault` at `now` is to be judged again;
 * undefined when the clock had no part in it.
 */
export function untimely(chain: Uint8Array, fault: Fault, now: number): Validity | undefined {
  const validity = validityOf(chain);
  if (validity === undefined) return undefined;
  if (!isTimely(validity, now)) return validity;
  return BY_THE_CLOCK.test(fault.message) ? ALWAYS : undefined;
}

function validityOf(chain: Uint8Array): Validity | undefined {
  try {
    const certificates = splitCertificates(chain, 'the chain', 'bad-svid');
    return {
      from: Math.max(...certificates.map(({ validFromDate }) => validFromDate.getTime())),
      until: Math.min(...certificates.map(({ validToDate }) => validToDate.getTime())),
    };
  } catch (failure) {
    if (failure instanceof Fault) return undefined;
    throw failure;
  }
}
