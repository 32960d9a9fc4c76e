/** What both kinds of documents say in the same words. */
import { choice } from './decode.ts';

/** `required` is the default of the design; tasks are not built yet, so a document must write `optional`. */
export const task = choice(['optional'], ['required']);

export const UNSAFE_NON_LOOPBACK =
  'Needed to listen on an address that is not loopback: whoever reaches the port acts with the identity of this sidecar.';
