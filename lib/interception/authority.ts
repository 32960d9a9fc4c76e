/**
 * The authority that stands in for the servers of intercepted destinations. Rules:
 * - its key is made here and stays in memory, or in a folder that only the sidecar enters
 *   (lib/interception/ca-key.ts), so that a restart breaks no running program;
 * - its certificate is limited to the declared domains by critical name constraints (RFC 5280
 *   section 4.2.1.10), to servers, and to leaves; it is issued anew from the same key and name at
 *   each start and at half of its life: whoever trusts an older one trusts what is issued now;
 * - a leaf is for the one host that was decided, lasts 24 hours at most and never longer than the
 *   authority, and is replaced before it ends;
 * - what issues certificates is loaded with the first authority, not with the program.
 */
import { createHash, X509Certificate, type webcrypto as WebCrypto } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { isUnder } from '../net/host.ts';
import { keyInFolder, newKeyPair, type KeptKey } from './ca-key.ts';
import { SERVER_COMMON } from '../tls/context.ts';
import { leafCache, type Leaf, type LeafCounts } from './leaf-cache.ts';
import { STAND_IN } from '../tls/server-name.ts';

/** Milliseconds. */
export const CA_LIFETIME = 90 * 24 * 3_600_000;
export const LEAF_LIFETIME = 24 * 3_600_000;
/** A leaf that has less than this left is replaced before it is shown again. */
export const LEAF_RENEWAL = 6 * 3_600_000;
/**
 * Clocks of two machines differ: what is issued was already valid a moment ago. Part of the
 * lifetime.
 */
const BACKDATED = 60_000;
/** After a renewal that failed. */
const RETRY = 3_600_000;

export interface InterceptionOptions {
  /** DNS names; each stands for itself and all below it. */
  readonly domains: readonly string[];
  /** Where the key is kept; in memory alone without it. */
  readonly folder: string | undefined;
  readonly clock: Clock;
  /** Where a refused CONNECT to one of the domains is told why; default `connect`. */
  readonly refusals?: 'inside' | 'connect' | undefined;
}

/** What a server shows: certificate and key. */
export type TlsContext = SecureContext;

export interface Interception extends Disposable {
  readonly domains: readonly string[];
  readonly refusals: 'inside' | 'connect';
  /** `memory`, or what the folder is on; a key on a disk outlives the pod. */
  readonly kept: KeptKey['kept'];
  /** Whether certificates may be issued for this canonical host. */
  covers(host: string): boolean;
  /** What to show as that host. Throws a Fault `intercept-ca` for a host outside the domains. */
  contextFor(host: string): Promise<SecureContext>;
  /** The same to say no as that host: all such certificates have one key, of this process. */
  refusalContextFor(host: string): Promise<SecureContext>;
  /** The authority's certificate, for programs to trust. */
  authority(): X509Certificate;
  /** Calls `act` with each later certificate of the authority. */
  onRenewed(act: (certificate: X509Certificate) => void): void;
  leaves(): LeafCounts;
}

/**
 * Makes the authority or takes it up again. Throws a Fault `intercept-ca` when its folder is not
 * safe to keep a key in.
 */
export async function openInterception(options: InterceptionOptions): Promise<Interception> {
  const key = options.folder === undefined ? await newKeyPair() : await keyInFolder(options.folder);
  const authority = await Authority.make(options, key);
  return authority;
}

/** Names the key, so that a certificate issued anew has the name that the one before had. */
const SUBJECT_PREFIX = `${STAND_IN}, CN=`;

function subjectOf(spki: Uint8Array): string {
  return `${SUBJECT_PREFIX}${createHash('sha256').update(spki).digest('hex').slice(0, 32)}`;
}

class Authority implements Interception {
  readonly domains: readonly string[];
  readonly refusals: 'inside' | 'connect';
  readonly kept: KeptKey['kept'];
  readonly #clock: Clock;
  readonly #keys: WebCrypto.CryptoKeyPair;
  readonly #subject: string;
  readonly #leaves = leafCache({
    issue: async (host) => this.#issue(host, await newLeafKeys()),
    now: () => this.#clock.now(),
  });
  readonly #refusals = leafCache({
    issue: async (host) => this.#issue(host, await (this.#refusalKeys ??= newLeafKeys())),
    now: () => this.#clock.now(),
  });
  #refusalKeys: Promise<WebCrypto.CryptoKeyPair> | undefined;
  #certificate: X509Certificate;
  #told: ((certificate: X509Certificate) => void)[] = [];
  #cancel: () => void = () => {};

  static async make(
    options: InterceptionOptions,
    { keys, kept, spki }: KeptKey,
  ): Promise<Authority> {
    const subject = subjectOf(spki);
    const certificate = await certify({ ...options, keys, subject });
    return new Authority(options, { keys, kept, subject, certificate });
  }

  private constructor({ domains, clock, refusals = 'connect' }: InterceptionOptions, made: Made) {
    this.refusals = refusals;
    this.domains = Object.freeze([...domains]);
    this.kept = made.kept;
    this.#clock = clock;
    this.#keys = made.keys;
    this.#subject = made.subject;
    this.#certificate = made.certificate;
    this.#renewIn(CA_LIFETIME / 2);
  }

  covers(host: string): boolean {
    return isUnder(host, this.domains);
  }

  async contextFor(host: string): Promise<SecureContext> {
    this.#requireCovered(host);
    return this.#leaves.contextFor(host);
  }

  async refusalContextFor(host: string): Promise<SecureContext> {
    this.#requireCovered(host);
    return this.#refusals.contextFor(host);
  }

  #requireCovered(host: string): void {
    if (!this.covers(host)) {
      throw new Fault(
        'intercept-ca',
        `${host} is outside the domains that this sidecar may stand in for`,
        {
          hint:
            'add it to spec.intercept.domains of the Sidecar document, and start the ' +
            'sidecar again',
        },
      );
    }
  }

  authority(): X509Certificate {
    return this.#certificate;
  }

  onRenewed(act: (certificate: X509Certificate) => void): void {
    this.#told.push(act);
  }

  leaves(): LeafCounts {
    return this.#leaves.counts();
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }

  #renewIn(ms: number): void {
    this.#cancel = this.#clock.after(ms, () => {
      this.#renew().then(
        () => this.#renewIn(CA_LIFETIME / 2),
        () => this.#renewIn(RETRY),
      );
    });
  }

  async #renew(): Promise<void> {
    const { domains } = this;
    this.#certificate = await certify({
      domains,
      clock: this.#clock,
      keys: this.#keys,
      subject: this.#subject,
    });
    for (const tell of this.#told) tell(this.#certificate);
  }

  async #issue(host: string, keys: WebCrypto.CryptoKeyPair): Promise<Leaf> {
    const { KEY_USAGE, PURPOSE, certificatesPem, pkcs8, privateKeyPem, signCertificate } =
      await import('./issue.ts');
    const notBefore = wholeSecond(this.#clock.now() - BACKDATED);
    const notAfter = Math.min(notBefore + LEAF_LIFETIME, this.#certificate.validToDate.getTime());
    const leaf = await signCertificate({
      subject: 'O=Chaperone interception',
      publicKey: keys.publicKey,
      signer: { subject: this.#subject, keys: this.#keys },
      notBefore,
      notAfter,
      names: { values: [{ type: 'dns', value: host }], critical: false },
      basicConstraints: { ca: false },
      keyUsage: { bits: KEY_USAGE.digitalSignature, critical: true },
      extendedKeyUsage: [PURPOSE.serverAuth],
    });
    const context = createSecureContext({
      ...SERVER_COMMON,
      cert: certificatesPem([leaf]),
      key: privateKeyPem(await pkcs8(keys)),
    });
    return { context, renewAt: notAfter - LEAF_RENEWAL };
  }
}

async function newLeafKeys(): Promise<WebCrypto.CryptoKeyPair> {
  const { newKeys } = await import('./issue.ts');
  return newKeys();
}

interface Made {
  readonly keys: WebCrypto.CryptoKeyPair;
  readonly kept: KeptKey['kept'];
  readonly subject: string;
  readonly certificate: X509Certificate;
}

interface Certified {
  readonly domains: readonly string[];
  readonly clock: Clock;
  readonly keys: WebCrypto.CryptoKeyPair;
  readonly subject: string;
}

/** The authority's own certificate, self-signed. */
async function certify({ domains, clock, keys, subject }: Certified): Promise<X509Certificate> {
  const { KEY_USAGE, PURPOSE, signCertificate } = await import('./issue.ts');
  const notBefore = wholeSecond(clock.now() - BACKDATED);
  const der = await signCertificate({
    subject,
    publicKey: keys.publicKey,
    signer: { subject, keys },
    notBefore,
    notAfter: notBefore + CA_LIFETIME,
    basicConstraints: { ca: true, pathLength: 0 },
    keyUsage: { bits: KEY_USAGE.keyCertSign, critical: true },
    extendedKeyUsage: [PURPOSE.serverAuth],
    nameConstraints: { dns: domains, noAddresses: true },
  });
  return new X509Certificate(der);
}

function wholeSecond(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
