/** The bodies that both APIs read, as schemas: decoders and OpenAPI documents come from them. */
import { defaulted, integer, optional, record, required } from '../schema/decode.ts';
import { duration, note, person, token } from '../config/documents/scalars.ts';

export const extension = record({
  lifetime: required(duration('5m'), 'How long from now on.'),
});

export const question = record({
  decision: required(token, 'The call: the decision that its refusal names.'),
  reason: optional(note, 'For whoever decides, who sees it apart from the call.'),
});

export const approval = record({
  by: required(person, 'Who approves.'),
  ttl: optional(duration('60s'), 'Shorter than the policy has it.'),
  maxCalls: optional(integer(1, 1_000_000), 'Fewer calls than the policy has it.'),
});

export const refusal = record({
  by: required(person, 'Who refuses.'),
  reason: defaulted(note, 'refused', 'For the agent.'),
  ttl: optional(
    duration('1h'),
    'How long the agent may not ask for it again; as long as a task of the purpose may ' +
      'last otherwise.',
  ),
});

export const revocation = record({
  by: required(person, 'Who revokes.'),
  reason: defaulted(note, 'revoked by the operator', 'Stands in the records.'),
});
