/** Credentials that are put into requests in the agent's stead: a key a kind. */
import { record, required } from '../../schema/decode.ts';
import type { Infer } from '../../schema/schema.ts';
import { audience } from './scalars.ts';

export const credentials = record({
  jwtSvid: required(
    record({
      audience: required(
        audience,
        'The one audience of the token: what the upstream expects in `aud`.',
      ),
    }),
    'A JWT-SVID of our SPIFFE ID is sent as `Authorization: Bearer`, over TLS alone; ' +
      'the Authorization of the agent is taken off.',
  ),
});

export type CredentialsDocument = Infer<typeof credentials>;
