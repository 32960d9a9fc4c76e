/** The bodies that both APIs read, as schemas: decoders and OpenAPI documents come from them. */
import { defaulted, integer, optional, record, required } from '../config/decode.ts';
import { action, duration, name, note, parameterDigest, person } from '../config/scalars.ts';

export const extension = record({
  lifetime: required(duration('5m'), 'How long from now on.'),
});

export const question = record({
  action: required(action, 'The action that needs an approval.'),
  destination: optional(name, 'For this destination alone; for those of the grant otherwise.'),
  digest: optional(parameterDigest, 'For these parameters alone: the digest that the refusal of the call names.'),
  reason: optional(note, 'For whoever decides.'),
});

export const approval = record({
  by: required(person, 'Who approves.'),
  lasts: optional(duration('60s'), 'Shorter than the policy has it.'),
  uses: optional(integer(1, 1_000_000), 'Fewer calls than the policy has it.'),
});

export const refusal = record({
  by: required(person, 'Who refuses.'),
  reason: defaulted(note, 'refused', 'For the agent.'),
});

export const revocation = record({
  by: required(person, 'Who revokes.'),
  reason: defaulted(note, 'revoked by the operator', 'Stands in the records.'),
});
