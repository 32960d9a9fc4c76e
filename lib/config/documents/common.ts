/** What both kinds of documents say in the same words. */
import { choice } from '../../schema/decode.ts';

export const task = choice(['required', 'optional']);

export const UNSAFE_NON_LOOPBACK =
  'Needed to listen on an address that is not loopback: whoever reaches the port acts with ' +
  'the identity of this sidecar.';
