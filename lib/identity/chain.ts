/**
 * Whether an X.509-SVID of ours leads to its trust domain's anchors (RFC 5280 section 6), asked of
 * OpenSSL and never computed here. The engine's validator has one door, a handshake, so two ends in
 * memory make a real one: one shows the chain and proves the key, the other trusts those anchors
 * and nothing else.
 */
import { duplexPair } from 'node:stream';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { X509Bundle, X509Svid } from '../spiffe/identity.ts';
import { LIMITS } from './limits.ts';
import { rawPeerOnly } from './raw-peer.ts';

function server(
  transport: ReturnType<typeof duplexPair>[number],
  { chain, privateKey }: X509Svid,
): TLSSocket {
  const secureContext = createSecureContext({
    cert: chain.map((one) => one.toString()).join(''),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  });
  return new TLSSocket(transport, { isServer: true, secureContext });
}

function client(
  transport: ReturnType<typeof duplexPair>[number],
  { anchors }: X509Bundle,
): TLSSocket {
  const secureContext = createSecureContext({
    // Always an array: an empty string would mean the system's roots.
    ca: anchors.map((one) => one.toString()),
    allowPartialTrustChain: true,
  });
  // The name is the SPIFFE ID, which was checked already; a DNS name is not asked for.
  return rawPeerOnly(
    connect({ socket: transport, secureContext, checkServerIdentity: () => undefined }),
  );
}

function handshake(svid: X509Svid, bundle: X509Bundle, clock: Clock): Promise<void> {
  const [near, far] = duplexPair();
  return new Promise<void>((resolve, reject) => {
    const ends = [server(far, svid), client(near, bundle)] as const;
    const settle = (failure?: Error): void => {
      cancel();
      if (failure === undefined) resolve();
      else reject(failure);
      for (const end of ends) end.destroy();
    };
    const cancel = clock.after(LIMITS.chainMs, () =>
      settle(new Error('the handshake in memory did not end')),
    );
    const [shown, trusting] = ends;
    trusting.on('error', settle).on('close', () => settle(new Error('closed')));
    // The other end learns of a refusal as an alert; the reason is the trusting end's.
    shown.on('error', () => undefined);
    trusting.once('secureConnect', () => settle());
  }).finally(() => {
    near.destroy();
    far.destroy();
  });
}

/** The engine's code of a path of which nothing but a start lies ahead, as its last word on it. */
const NOT_YET = 'CERT_NOT_YET_VALID';

/**
 * Whether a start within the skew is all that is wrong. The engine tells only its last objection,
 * and that one comes last: who issued whom is therefore asked for once more.
 */
function isEarly(
  { chain }: X509Svid,
  { anchors }: X509Bundle,
  code: unknown,
  now: number,
): boolean {
  if (code !== NOT_YET) return false;
  const starts = chain.map(({ validFromDate }) => validFromDate.getTime());
  if (!starts.some((start) => start > now) || starts.some((start) => start - LIMITS.skewMs > now))
    return false;
  return chain.every((one, at) => {
    const issuers = [...chain.slice(at + 1, at + 2), ...anchors];
    return issuers.some((issuer) => one.checkIssued(issuer) && one.verify(issuer.publicKey));
  });
}

/**
 * Resolves when OpenSSL finds a valid path from the SVID's chain to an anchor of `bundle`, valid by
 * the system's clock; starts may lie ahead of `clock` by the skew.
 * @throws Fault `bad-svid` with OpenSSL's reason
 */
export async function verifyIssuedChain(
  svid: X509Svid,
  bundle: X509Bundle,
  clock: Clock,
): Promise<void> {
  try {
    await handshake(svid, bundle, clock);
  } catch (failure) {
    const { message, cause } = Fault.from(failure, 'bad-svid');
    const code =
      cause instanceof Error && 'code' in cause && typeof cause.code === 'string'
        ? cause.code
        : undefined;
    if (isEarly(svid, bundle, code, clock.now())) return;
    const shown = code === undefined ? '' : ` (${code})`;
    throw new Fault(
      'bad-svid',
      `the X.509-SVID of ${svid.id} does not lead to the bundle of ${bundle.trustDomain}: ` +
        `${message}${shown}`,
      { cause: failure },
    );
  }
}
