/**
 * Credentials that are put into a request in the agent's stead. A kind of credential is one row of
 * lib/credentials/kinds.ts: a provider that obtains it, renews it, and forgets it with its task.
 * The secret goes into the fields of one request and nowhere else.
 */
import type { Fields } from '../http/message.ts';
import type { CredentialPolicy } from '../policy/model/destination.ts';
import type { Identity } from '../spiffe/identity.ts';

export interface Credential {
  /** For the record. */
  readonly kind: CredentialPolicy['kind'] | 'basic';
  /** Milliseconds since the epoch; undefined: it does not say. */
  readonly expiresAt: number | undefined;
  /** The same fields with the credential in place of what the agent sent there. */
  apply(fields: Fields): string[];
}

/** A credential as a destination asks for it, and the identity that it speaks for. */
interface CredentialNeed<P = CredentialPolicy> {
  readonly policy: P;
  readonly identity: Identity;
}

export interface CredentialProvider<P = CredentialPolicy> {
  /**
   * A credential that is valid now. Each task has its own, which end with it; undefined: no task.
   * @throws Fault `credential-unavailable`, or the signal's reason
   */
  obtain(
    need: CredentialNeed<P>,
    task: string | undefined,
    signal: AbortSignal,
  ): Promise<Credential>;
  /**
   * Lets go of what was obtained for a task that has ended; says in words what of it stays valid
   * elsewhere.
   */
  forget(task: string): readonly string[];
}
