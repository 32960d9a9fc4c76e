/**
 * What each side says it can do, cut to what policy allows, so that neither asks in vain. Of what a
 * client says nothing but known words goes on: capabilities are an object of any shape.
 */
import { isObject, type Json, type JsonObject } from '../schema/json.ts';
import { mayAsk } from '../policy/protocols/mcp-lists.ts';
import type { McpDestination, McpPolicy } from '../policy/protocols/mcp-service.ts';

interface Offer {
  readonly name: string;
  /** The request of the server that it is for. */
  readonly method: string;
  /** Parts of it that are known. */
  readonly parts: readonly string[];
}

const OFFERS: readonly Offer[] = [
  { name: 'sampling', method: 'sampling/createMessage', parts: ['context', 'tools'] },
  { name: 'elicitation', method: 'elicitation/create', parts: ['form', 'url'] },
  { name: 'roots', method: 'roots/list', parts: ['listChanged'] },
];

/** What the client offers the server. */
export function clientOffers(offered: JsonObject, { serverRequests }: McpPolicy): JsonObject {
  const left = new Map<string, Json>();
  for (const { name, method, parts } of OFFERS) {
    const said = offered.get(name);
    if (isObject(said) && serverRequests.has(method)) left.set(name, partsOf(said, parts));
  }
  return left;
}

function partsOf(said: JsonObject, parts: readonly string[]): JsonObject {
  const left = new Map<string, Json>();
  for (const part of parts) {
    const value = said.get(part);
    if (typeof value === 'boolean') left.set(part, value);
    else if (isObject(value)) left.set(part, new Map());
  }
  return left;
}

/** The method by which a capability of the server is used, where that can be denied. */
const USED_BY: Readonly<Record<string, string>> = Object.freeze({
  logging: 'logging/setLevel',
  completions: 'completion/complete',
  prompts: 'prompts/list',
  resources: 'resources/list',
  tools: 'tools/list',
});
/** What is not served at all: its methods are not known here. */
const UNSERVED: readonly string[] = ['tasks', 'experimental'];
const TASKS = 'io.modelcontextprotocol/tasks';

/** What the server offers the client. In report mode rules hold nothing back. */
export function serverOffers(offered: JsonObject, destination: McpDestination): JsonObject {
  const left = new Map(offered);
  for (const name of UNSERVED) left.delete(name);
  const extensions = left.get('extensions');
  if (isObject(extensions)) left.set('extensions', without(extensions, TASKS));
  if (destination.mode === 'report') return left;
  for (const [name, method] of Object.entries(USED_BY))
    if (!mayAsk(destination, method)) left.delete(name);
  const resources = left.get('resources');
  if (isObject(resources) && !mayAsk(destination, 'resources/subscribe'))
    left.set('resources', without(resources, 'subscribe'));
  return left;
}

function without(object: JsonObject, name: string): JsonObject {
  const left = new Map(object);
  left.delete(name);
  return left;
}
