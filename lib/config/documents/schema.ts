/**
 * The documents: one schema is the source of types, defaults, messages and reference pages. A key
 * of the design that is not built yet is named in `later` and refused; when it is built it moves to
 * the fields.
 */
import { choice, record, required } from '../../schema/decode.ts';
import type { Infer } from '../../schema/schema.ts';
import { destinationSpec } from './destination.ts';
import { name } from './scalars.ts';
import { sidecarSpec } from './sidecar.ts';
import { taskPolicySpec } from './task-policy.ts';

export const API_VERSION = 'chaperone.dev/v1alpha1';

export const metadata = record({ name: required(name, 'Unique among the documents of its kind.') });
const header = { apiVersion: required(choice([API_VERSION]), 'The version of this schema.') };

export const sidecarDocument = record({
  ...header,
  kind: required(choice(['Sidecar']), 'One document of this kind.'),
  metadata: required(metadata, 'What the document is called.'),
  spec: required(sidecarSpec, 'Settings of the sidecar.'),
});

export const destinationDocument = record({
  ...header,
  kind: required(choice(['Destination']), 'Any number of documents of this kind.'),
  metadata: required(metadata, 'What the document is called.'),
  spec: required(
    destinationSpec,
    'One upstream: how it is matched, reached and proved, and what may be done there.',
  ),
});

export const taskPolicyDocument = record({
  ...header,
  kind: required(choice(['TaskPolicy']), 'Any number of documents of this kind.'),
  metadata: required(metadata, 'What the document is called.'),
  spec: required(taskPolicySpec, 'What tasks of some purposes may be granted.'),
});

/** By kind; in this order on pages and in messages. */
export const DOCUMENTS = Object.freeze({
  Sidecar: sidecarDocument,
  Destination: destinationDocument,
  TaskPolicy: taskPolicyDocument,
});

export type SidecarDocument = Infer<typeof sidecarDocument>;
export type DestinationDocument = Infer<typeof destinationDocument>;
export type TaskPolicyDocument = Infer<typeof taskPolicyDocument>;
