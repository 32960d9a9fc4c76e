/** A check of a Destination. */
import type { CheckOf } from '../documents/finding.ts';
import type { DestinationDocument } from '../documents/schema.ts';

export type Spec = DestinationDocument['spec'];
export type Check = CheckOf<Spec>;
