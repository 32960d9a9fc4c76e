/** The OpenAPI 3.1 document of an API, from the same table that serves it. */
import { ofShape, type JsonSchema } from '../config/reference/json-schema.ts';
import type { Operation } from './api.ts';

const ERROR: JsonSchema = {
  type: 'object',
  required: ['error', 'message'],
  properties: {
    error: { type: 'string', description: 'A stable code.' },
    message: { type: 'string', description: 'The reason and what to do.' },
    at: { type: 'string', description: 'Where in what was sent.' },
  },
};

/** `GET /openapi.json`. */
export function openApi(title: string, operations: () => readonly Operation[]): Operation {
  return {
    method: 'GET',
    path: '/openapi.json',
    summary: 'This document.',
    status: 200,
    answer: () => ({ status: 200, body: document(title, operations()) }),
  };
}

function document(title: string, operations: readonly Operation[]): JsonSchema {
  const paths: Record<string, Record<string, JsonSchema>> = {};
  for (const operation of operations) {
    const methods = (paths[operation.path] ??= {});
    methods[operation.method.toLowerCase()] = described(operation);
  }
  return { openapi: '3.1.0', info: { title, version: 'v1' }, paths };
}

function described({ path, summary, request, status }: Operation): JsonSchema {
  const names = [...path.matchAll(/\{([^}]+)\}/g)].flatMap((match) => match[1] ?? []);
  return {
    summary,
    ...(names.length === 0
      ? undefined
      : {
          parameters: names.map((name) => ({
            name,
            in: 'path',
            required: true,
            schema: { type: 'string' },
          })),
        }),
    ...(request === undefined
      ? undefined
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: ofShape(request.shape) } },
          },
        }),
    responses: {
      [status]: {
        description: 'Done.',
        content: { 'application/json': { schema: { type: 'object' } } },
      },
      default: {
        description: 'Refused, and why.',
        content: { 'application/json': { schema: ERROR } },
      },
    },
  };
}
