/** Credentials compiled: a row a kind, by its key in the document. */
import type { CredentialPolicy } from '../../policy/model/destination.ts';
import type { CredentialsDocument } from '../documents/credentials.ts';

type Rows = {
  readonly [K in keyof CredentialsDocument]-?: (
    document: NonNullable<CredentialsDocument[K]>,
  ) => CredentialPolicy;
};

const KINDS: Rows = {
  jwtSvid: ({ audience }) => Object.freeze({ kind: 'jwt-svid', audience }),
};

export function compileCredentials({ jwtSvid }: CredentialsDocument): CredentialPolicy {
  return KINDS.jwtSvid(jwtSvid);
}
