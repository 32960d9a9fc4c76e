/** A set of documents that decoded. */
import type { Tree } from '../../schema/tree.ts';
import type { DestinationDocument, SidecarDocument, TaskPolicyDocument } from './schema.ts';

/** A document that decoded. */
export interface Decoded<D> {
  readonly tree: Tree;
  readonly document: D;
}

export interface DocumentSet {
  readonly sidecar: Decoded<SidecarDocument> | undefined;
  /** There is a Sidecar document that did not decode: what it would say is not known. */
  readonly sidecarBroken: boolean;
  readonly destinations: readonly Decoded<DestinationDocument>[];
  readonly taskPolicies: readonly Decoded<TaskPolicyDocument>[];
}
