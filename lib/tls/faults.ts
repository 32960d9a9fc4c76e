/**
 * What a failed TLS connection means, in words that say what to do. The engine's errors carry an
 * alert's name (RFC 8446 section 6) or OpenSSL's verdict on the path; both are turned into Faults
 * here and nowhere else.
 */
import { Fault } from '../base/fault.ts';
import type { Side } from './peer.ts';

/** Alerts by which a peer says that it does not accept our certificate. */
const REFUSED_US = new RegExp(
  'alert ((?:bad|unsupported) certificate|certificate (revoked|expired|unknown|required)|' +
    'unknown ca|access denied|handshake failure)',
  'i',
);

interface Verdict {
  readonly text: string;
  readonly hint: string;
}

const UNTRUSTED: Verdict = {
  text: 'its certificate leads to no trust anchor that may vouch for it',
  hint:
    'the peer belongs to another trust domain, or its bundle changed: check its SPIFFE ID ' +
    'and the federation of its trust domain',
};

/** OpenSSL's verdicts that need other words than its own. */
const VERDICTS: Readonly<Record<string, Verdict>> = {
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  CERT_UNTRUSTED: UNTRUSTED,
  CERT_SIGNATURE_FAILURE: UNTRUSTED,
  CERT_HAS_EXPIRED: {
    text: 'a certificate of its chain has expired',
    hint:
      'the peer no longer rotates its SVID: look at its SPIRE agent, and at the clocks ' +
      'of both sides',
  },
  CERT_NOT_YET_VALID: {
    text: 'a certificate of its chain is not valid yet',
    hint: 'compare the clocks of both sides',
  },
  INVALID_PURPOSE: {
    text: 'its certificate may not be used for TLS',
    hint: 'issue an SVID for server and client authentication',
  },
  INVALID_CA: {
    text: 'a certificate of its chain is no CA',
    hint: 'the peer must send the intermediates that issued its SVID',
  },
  PATH_LENGTH_EXCEEDED: {
    text: 'its chain is longer than one of its CAs allows',
    hint: 'look at pathLenConstraint of the CAs',
  },
};

/** OpenSSL's verdict on a path as a Fault. */
export function pathFault(side: Side, verdict: string, seen: string): Fault {
  const { text, hint } = VERDICTS[verdict] ?? {
    text: 'its certificate chain is not valid',
    hint: 'look at the chain that the peer sends',
  };
  return new Fault(
    side.untrusted,
    `${side.who} is not trusted: ${text} (${verdict}); it presented ${seen}`,
    { hint },
  );
}

/**
 * An error of a TLS connection to an upstream as a Fault `upstream-tls`; a Fault stays what it is.
 * To be asked for every error of the socket, later ones too: in TLS 1.3 an upstream's refusal of
 * our SVID arrives after our handshake is complete, with the first read.
 */
export function tlsFault(error: unknown, who: string): Fault {
  if (error instanceof Fault) return error;
  const text = textOf(error);
  if (REFUSED_US.test(text)) {
    return new Fault(
      'upstream-tls',
      `${who} does not accept our certificate: it answered with the TLS ${alertIn(text)}`,
      {
        hint:
          'the upstream must trust the bundle of our trust domain and allow our SPIFFE ID; ' +
          'see its log, and `chaperone svid show` for ours',
        cause: error,
      },
    );
  }
  if (/wrong version number|packet length too long|http request/i.test(text)) {
    return new Fault('upstream-tls', `${who} answered with something that is not TLS`, {
      hint: 'check the port, or say tls.mode: plaintext where that is meant',
      cause: error,
    });
  }
  if (/alert/i.test(text)) {
    return new Fault('upstream-tls', `${who} ended the TLS handshake with the ${alertIn(text)}`, {
      hint:
        'the upstream must speak TLS 1.2 or 1.3 with ephemeral keys and know the server ' +
        'name; see its log',
      cause: error,
    });
  }
  if (/ECONNRESET|EPIPE|disconnected before secure|socket hang up/i.test(text)) {
    return new Fault('upstream-tls', `${who} closed the connection during the TLS handshake`, {
      hint: 'it may not speak TLS on this port, or not accept our SVID; see its log',
      cause: error,
    });
  }
  return new Fault('upstream-tls', `the TLS connection to ${who} failed: ${text}`, {
    cause: error,
  });
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const reason = 'reason' in error && typeof error.reason === 'string' ? error.reason : '';
  return `${reason === '' ? error.message : reason}${code === '' ? '' : ` (${code.replaceAll('_', ' ')})`}`;
}

function alertIn(text: string): string {
  return /alert [a-z ]+/i.exec(text)?.[0].trim().toLowerCase() ?? 'alert';
}
