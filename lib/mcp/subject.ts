/** Subject of a message: the tool, prompt or resource that it names, and its arguments. */
import { uriProblem } from '../net/resource.ts';
import type { McpFacts } from '../policy/model/facts.ts';
import { CLIENT_METHODS, type McpVersion, NAME, isStateless } from '../policy/model/mcp-methods.ts';
import { EMPTY, type JsonObject, isObject } from '../schema/json.ts';
import { type Message, badMessage, idKey, refuseVariants } from './message.ts';
import type { Session } from './sessions.ts';

export function aboutOf(
  message: Message,
  version: McpVersion,
  session: Session | undefined,
): About {
  const { kind } = message;
  if (message.kind === 'response') {
    const asked = message.id === undefined ? undefined : session?.asked.get(idKey(message.id));
    const failed = message.error !== undefined || declines(asked?.method, message.result);
    return {
      kind,
      method: asked?.method ?? '',
      failed,
      answersIn: asked?.action,
      answersBy: asked?.rule,
    };
  }
  const { method, params } = message;
  const row = CLIENT_METHODS.get(method);
  if (row === undefined) return { kind, method };
  // With an id where it has none, or in a version that does not have it, it is not the method that
  // is known.
  const elsewhere = row.versions === (isStateless(version) ? 'session' : 'stateless');
  if (row.kind !== kind || elsewhere) return { kind, method: '' };
  switch (row.subject) {
    case 'tool':
      return { kind, method, tool: toolName(params), ...argumentsOf(params) };
    case 'prompt':
      return { kind, method, prompt: textOf(params, 'name'), ...argumentsOf(params) };
    case 'resource':
      return { kind, method, resource: resourceOf(params) };
    case 'reference':
      return { kind, method, ...referenceOf(params) };
    case 'method':
    case 'protocol':
      return { kind, method };
  }
}

/**
 * An elicitation that is answered by no, and by nothing else (MCP 2025-11-25, elicitation, response
 * actions).
 */
function declines(method: string | undefined, result: JsonObject | undefined): boolean {
  if (method !== 'elicitation/create' || result?.size !== 1) return false;
  const action = result.get('action');
  return action === 'decline' || action === 'cancel';
}

export type About = Pick<McpFacts, 'kind' | 'method'> & Partial<McpFacts>;

function textOf(params: JsonObject, name: string): string {
  const value = params.get(name);
  if (typeof value === 'string' && value.length > 0 && value.length <= 256) return value;
  throw badMessage(`params.${name} is not a text of 1 to 256 characters`);
}

function toolName(params: JsonObject): string {
  const name = textOf(params, 'name');
  if (NAME.test(name)) return name;
  throw badMessage('the name of a tool is of A-Z, a-z, 0-9, _, . and -, at most 128 of them');
}

function argumentsOf(params: JsonObject): Pick<McpFacts, 'args'> {
  const args = params.has('arguments') ? params.get('arguments') : EMPTY;
  if (!isObject(args)) throw badMessage('params.arguments is not an object');
  return { args };
}

function resourceOf(params: JsonObject): string {
  const uri = params.get('uri');
  if (typeof uri !== 'string') throw badMessage('params.uri is not a text');
  const problem = uriProblem(uri);
  if (problem !== undefined) throw badMessage(`params.uri ${problem}`);
  return uri;
}

/**
 * completion/complete: of a prompt, or of a template, which stands for the place where its first
 * expression begins.
 */
function referenceOf(params: JsonObject): Partial<McpFacts> {
  const ref = params.get('ref');
  if (!isObject(ref)) throw badMessage('params.ref is not an object');
  refuseVariants(ref);
  if (ref.get('type') === 'ref/prompt') return { prompt: textOf(ref, 'name') };
  const uri = ref.get('type') === 'ref/resource' ? ref.get('uri') : undefined;
  if (typeof uri !== 'string') throw badMessage('params.ref names neither a prompt nor a resource');
  const start = uri.split('{', 1)[0] ?? '';
  const problem = uriProblem(start.endsWith('/') || start.endsWith(':') ? `${start}x` : start);
  if (problem !== undefined) throw badMessage(`params.ref.uri ${problem}`);
  return { resource: start };
}
