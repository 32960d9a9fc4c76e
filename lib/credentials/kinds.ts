/** The kinds of credentials that a destination may ask for: a row each, whose provider has them. */
import type { CredentialPolicy } from '../policy/model/destination.ts';
import { type JwtSvidsOptions, jwtSvids } from './jwt-svid.ts';
import type { CredentialProvider } from './provider.ts';

type Kind = CredentialPolicy['kind'];

type Providers = {
  readonly [K in Kind]: CredentialProvider<Extract<CredentialPolicy, { kind: K }>>;
};

/** One provider for all kinds. */
export function credentialProvider(options: JwtSvidsOptions): CredentialProvider {
  const providers: Providers = {
    'jwt-svid': jwtSvids(options),
  };
  return {
    obtain: (need, task, signal) => providers[need.policy.kind].obtain(need, task, signal),
    forget: (task) => Object.values(providers).flatMap((provider) => provider.forget(task)),
  };
}
