/**
 * The documents as a JSON Schema (draft-07, what editors read best), made of the shapes that decode
 * them. It refuses what a schema can; the decoder refuses more: values with a grammar, rules over
 * several keys, the whole set.
 */
import { API_VERSION, DOCUMENTS } from '../documents/schema.ts';
import { testDocument } from '../documents/policy-test.ts';
import type { FieldShape, RecordShape, Shape } from '../../schema/shape.ts';

/** Of the policy, and the tests beside it. */
const KINDS = Object.freeze({ ...DOCUMENTS, PolicyTest: testDocument });

/** A JSON Schema, or a part of one. */
export type JsonSchema = { readonly [key: string]: unknown };

/** One schema for every kind: exactly one of them fits a document. */
export function jsonSchema(): JsonSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: `https://${API_VERSION}/chaperone.schema.json`,
    title: 'Chaperone',
    oneOf: Object.keys(KINDS).map((kind) => ({ $ref: `#/definitions/${kind}` })),
    definitions: Object.fromEntries(
      Object.entries(KINDS).map(([kind, { shape }]) => [kind, ofShape(shape)]),
    ),
  };
}

export function ofShape(shape: Shape): JsonSchema {
  switch (shape.kind) {
    case 'text':
      return {
        type: 'string',
        ...(shape.pattern === undefined ? { minLength: 1 } : { pattern: shape.pattern }),
        examples: [shape.example],
      };
    case 'choice':
      return shape.values.length === 1 ? { const: shape.values[0] } : { enum: shape.values };
    case 'integer':
      return { type: 'integer', minimum: shape.least, maximum: shape.most };
    case 'flag':
      return { type: 'boolean' };
    case 'any':
      return {};
    case 'list':
      return {
        type: 'array',
        items: ofShape(shape.item),
        minItems: shape.least,
        maxItems: shape.most,
        ...(shape.unique && { uniqueItems: true }),
      };
    case 'record':
      return ofRecord(shape);
  }
}

function ofRecord({ fields }: RecordShape): JsonSchema {
  const entries = Object.entries(fields);
  const required = entries
    .filter(([, { presence }]) => presence === 'required')
    .map(([name]) => name);
  return {
    type: 'object',
    additionalProperties: false,
    ...(required.length > 0 && { required }),
    properties: Object.fromEntries(entries.map(([name, field]) => [name, ofField(field)])),
  };
}

function ofField({ shape, doc, initial }: FieldShape): JsonSchema {
  return {
    description: doc,
    ...ofShape(shape),
    ...(initial !== undefined && { default: initial }),
  };
}
