/** Trees to documents: which schema reads one is said by its `kind`. */
import { nearest } from '../../base/nearest.ts';
import type { Problems } from '../../schema/problem.ts';
import { fail } from '../../schema/schema.ts';
import type { Tree } from '../../schema/tree.ts';
import {
  API_VERSION,
  DOCUMENTS,
  type DestinationDocument,
  type SidecarDocument,
  type TaskPolicyDocument,
  destinationDocument,
  sidecarDocument,
  taskPolicyDocument,
} from './schema.ts';
import type { Decoded } from './set.ts';

const KINDS = Object.freeze(Object.keys(DOCUMENTS));

export interface Documents {
  readonly sidecars: Decoded<SidecarDocument>[];
  readonly destinations: Decoded<DestinationDocument>[];
  readonly taskPolicies: Decoded<TaskPolicyDocument>[];
  /** Kinds of documents that are there and did not decode. */
  readonly broken: Set<string>;
}

/** Adds the document to its kind, or its problems to the problems. */
export function readDocument(tree: Tree, into: Documents, problems: Problems): void {
  const reading = { problems, steps: [] };
  if (tree.kind !== 'map') {
    fail(
      reading,
      tree,
      'the document is not a map',
      `write apiVersion: ${API_VERSION}, kind, metadata and spec`,
    );
    return;
  }
  const kind = tree.entries.get('kind')?.value;
  const name = kind?.kind === 'scalar' && typeof kind.value === 'string' ? kind.value : undefined;
  if (name === 'Sidecar') {
    const outcome = sidecarDocument.read(tree, reading);
    if (outcome === undefined) into.broken.add(name);
    else into.sidecars.push({ tree, document: outcome.value });
  } else if (name === 'Destination') {
    const outcome = destinationDocument.read(tree, reading);
    if (outcome === undefined) into.broken.add(name);
    else into.destinations.push({ tree, document: outcome.value });
  } else if (name === 'TaskPolicy') {
    const outcome = taskPolicyDocument.read(tree, reading);
    if (outcome === undefined) into.broken.add(name);
    else into.taskPolicies.push({ tree, document: outcome.value });
  } else {
    unknownKind(tree, name, { problems, steps: kind === undefined ? [] : ['kind'] });
  }
}

function unknownKind(
  tree: Extract<Tree, { kind: 'map' }>,
  name: string | undefined,
  reading: Parameters<typeof fail>[0],
): void {
  const at = tree.entries.get('kind')?.value ?? tree;
  if (name === undefined) {
    fail(reading, at, 'the document has no kind', `write kind: ${KINDS.join(' or kind: ')}`);
  } else if (name === 'PolicyTest') {
    fail(
      reading,
      at,
      'kind PolicyTest is no part of a policy',
      'keep it in a file that ends in .test.yaml, for chaperone test',
    );
  } else {
    const near = nearest(name, KINDS);
    fail(
      reading,
      at,
      `unknown kind ${JSON.stringify(name.slice(0, 80))}`,
      near === undefined ? `known are ${KINDS.join(', ')}` : `did you mean ${near}?`,
    );
  }
}
