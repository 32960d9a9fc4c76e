/**
 * What a call asks for, in one digest, so that an approval can be for these parameters and no others. undefined where not all of it is read: then no approval that
 * is bound to parameters covers it. An MCP message is its method, its name and its arguments; a request without content its method, path and query.
 */
import { createHash } from 'node:crypto';
import type { Facts } from './facts.ts';
import type { JsonObject } from './json.ts';
import { canonicalJson } from './json-writer.ts';

/** `sha-256:` and base64url of SHA-256 over a JSON array of texts, the destination's host and port first. */
export function parameterDigest({ host, port, http, mcp, grpc }: Facts): string | undefined {
  const at = [host, String(port)];
  if (mcp !== undefined) {
    if (mcp.params === undefined) return undefined;
    return digestOf([...at, 'mcp', mcp.method, mcp.paramsDigest ?? canonicalJson(digested(mcp.params))]);
  }
  if (http?.empty !== true || http.websocket || grpc !== undefined) return undefined;
  return digestOf([...at, 'http', http.method, http.path, http.query]);
}

/** What of the parameters of a message the digest is over. */
export function digested(params: JsonObject): JsonObject {
  return new Map([...params].filter(([name]) => name !== '_meta'));
}

function digestOf(parts: readonly string[]): string {
  return `sha-256:${createHash('sha256').update(JSON.stringify(parts)).digest('base64url')}`;
}
