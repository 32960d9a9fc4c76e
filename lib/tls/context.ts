/**
 * SecureContexts, cached: building one costs milliseconds, and it depends only on who we are and
 * whom we trust. Rules:
 * - the anchors of a SPIFFE context are those of the trust domains named, and always a list: an
 *   empty text or `undefined` would make the engine fall back to the system's roots. No anchors at
 *   all is refused here, before anything is dialled;
 * - a context belongs to one identity generation; those of the two newest generations are kept,
 *   older ones are dropped with their key;
 * - TLS 1.2 at least, only ephemeral key agreement with authenticated encryption, no renegotiation,
 *   no tickets: a resumed session would skip the verification of the peer, and a renegotiated one
 *   could change the peer after it. The engine's default list of groups prefers X25519MLKEM768 and
 *   offers X25519 in the same flight, so a peer that knows neither hybrid group costs no extra
 *   round trip;
 * - an anchor need not be self-signed (SPIFFE Trust Domain and Bundle section 6), hence
 *   `allowPartialTrustChain`.
 */
import { constants, createHash } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { Fault } from '../base/fault.ts';
import { identityKey, type Identity } from '../spiffe/identity.ts';
import type { TrustDomain } from '../spiffe/trust-domain.ts';
import { judgeOptions } from './path.ts';

export interface TlsContexts {
  /**
   * For both directions of SPIFFE mTLS: our SVID, and the anchors of `domains` alone. Throws a
   * Fault `no-trust-bundle` when there are none.
   */
  spiffe(identity: Identity, domains: readonly TrustDomain[]): SecureContext;
  /** Anchors of one trust domain and no certificate of ours, for `pathProblem` alone. */
  anchors(identity: Identity, domain: TrustDomain): SecureContext;
  /**
   * For a server of the web: `roots` (PEM) instead of the system's when given, our SVID presented
   * only when an identity is handed in.
   */
  web(identity: Identity | undefined, roots: readonly string[] | undefined): SecureContext;
  /** Contexts held now, for the tests and for metrics. */
  readonly size: number;
}

const GENERATIONS_KEPT = 2;

const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

const COMMON = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  ecdhCurve: 'auto',
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
} as const satisfies SecureContextOptions;

/**
 * For a server that asks for no certificate: the empty list keeps the engine from loading the
 * system's roots for nothing.
 */
export const SERVER_COMMON = { ...COMMON, ca: [] } satisfies SecureContextOptions;

export function tlsContexts(): TlsContexts {
  const generations = new Map<number, Map<string, SecureContext>>();
  const cached = (generation: number, key: string, build: () => SecureContext): SecureContext => {
    const contexts = generations.get(generation) ?? new Map<string, SecureContext>();
    const found = contexts.get(key);
    if (found !== undefined) return found;
    const built = build();
    contexts.set(key, built);
    generations.set(generation, contexts);
    dropOld(generations);
    return built;
  };
  return {
    spiffe(identity, domains) {
      const names = [...new Set(domains)].sort();
      return cached(identity.generation, `spiffe ${identityKey(identity)} ${names.join(' ')}`, () =>
        createSecureContext({
          ...COMMON,
          ...ownCertificate(identity),
          ca: anchorsOf(identity, names),
          allowPartialTrustChain: true,
        }),
      );
    },
    anchors: (identity, domain) =>
      cached(identity.generation, `anchors ${domain}`, () =>
        createSecureContext(judgeOptions(anchorsOf(identity, [domain]))),
      ),
    web(identity, roots) {
      const key =
        `web ${identity === undefined ? '-' : identityKey(identity)} ` +
        `${roots === undefined ? 'system' : digest(roots)}`;
      return cached(identity?.generation ?? WITHOUT_IDENTITY, key, () =>
        createSecureContext({
          ...COMMON,
          ...(identity === undefined ? {} : ownCertificate(identity)),
          ...(roots === undefined ? {} : { ca: givenRoots(roots) }),
        }),
      );
    },
    get size() {
      return [...generations.values()].reduce((sum, contexts) => sum + contexts.size, 0);
    },
  };
}

/** Contexts that hold no SVID of ours never grow old. */
const WITHOUT_IDENTITY = Infinity;

function dropOld(generations: Map<number, unknown>): void {
  const numbers = [...generations.keys()]
    .filter((generation) => generation !== WITHOUT_IDENTITY)
    .sort((a, b) => a - b);
  for (const old of numbers.slice(0, -GENERATIONS_KEPT)) generations.delete(old);
}

function ownCertificate({ svid }: Identity): SecureContextOptions {
  return {
    cert: svid.chain.map((certificate) => certificate.toString()).join(''),
    key: svid.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
}

function anchorsOf(identity: Identity, domains: readonly TrustDomain[]): string[] {
  const anchors = domains.flatMap((domain) => identity.bundles.get(domain)?.anchors ?? []);
  if (anchors.length > 0) return anchors.map((anchor) => anchor.toString());
  throw new Fault(
    'no-trust-bundle',
    `no trust anchor is known for ${domains.join(', ') || 'any trust domain'}`,
    {
      hint:
        'federate with that trust domain (SPIRE: federatesWith on our registration entry), ' +
        'or correct the trust domain in peers',
    },
  );
}

function givenRoots(roots: readonly string[]): string[] {
  if (roots.length > 0) return [...roots];
  throw new Fault('no-trust-bundle', 'tls.roots names no certificate', {
    hint: 'leave tls.roots out to trust the system roots',
  });
}

function digest(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:`).update(text);
  return hash.digest('hex');
}
