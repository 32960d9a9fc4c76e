/**
 * The methods of MCP that are known here, as data; what is not in these tables is denied. Protocol versions 2025-06-18 and 2025-11-25 (`session`:
 * handshake, streams, requests by the server) and 2026-07-28 (`stateless`). Tasks (`tasks/*`) are not built and so not known.
 */
export const MCP_VERSIONS = Object.freeze(['2025-06-18', '2025-11-25', '2026-07-28'] as const);
export type McpVersion = (typeof MCP_VERSIONS)[number];

/** Whether a version knows no handshake, no session and no request by the server. */
export function isStateless(version: McpVersion): boolean {
  return version === '2026-07-28';
}

/** What a rule allows a method by: its tool, prompt or resource, the method itself, or nothing, because it belongs to every conversation. */
export type Subject = 'tool' | 'prompt' | 'resource' | 'reference' | 'method' | 'protocol';

export interface MethodRow {
  readonly subject: Subject;
  readonly kind: 'request' | 'notification';
  readonly versions: 'session' | 'stateless' | 'both';
}

const request = (subject: Subject, versions: MethodRow['versions'] = 'both'): MethodRow => ({
  subject,
  kind: 'request',
  versions,
});
const notification = (versions: MethodRow['versions'] = 'session'): MethodRow => ({
  subject: 'protocol',
  kind: 'notification',
  versions,
});

/** From the agent to the server. */
export const CLIENT_METHODS: ReadonlyMap<string, MethodRow> = new Map([
  ['initialize', request('protocol', 'session')],
  ['notifications/initialized', notification()],
  ['notifications/cancelled', notification('both')],
  ['notifications/progress', notification()],
  ['notifications/roots/list_changed', notification()],
  ['ping', request('protocol', 'session')],
  ['server/discover', request('protocol', 'stateless')],
  ['tools/list', request('protocol')],
  ['prompts/list', request('protocol')],
  ['resources/list', request('protocol')],
  ['resources/templates/list', request('protocol')],
  ['tools/call', request('tool')],
  ['prompts/get', request('prompt')],
  ['resources/read', request('resource')],
  ['resources/subscribe', request('resource', 'session')],
  ['resources/unsubscribe', request('resource', 'session')],
  ['completion/complete', request('reference')],
  ['logging/setLevel', request('method', 'session')],
  ['subscriptions/listen', request('method', 'stateless')],
]);

/** Requests by the server, in a stream or, in 2026-07-28, inside a result. Only ping needs no permission. */
export const SERVER_REQUESTS = Object.freeze(['sampling/createMessage', 'elicitation/create', 'roots/list'] as const);
export type ServerRequest = (typeof SERVER_REQUESTS)[number];

export const SERVER_NOTIFICATIONS: ReadonlySet<string> = new Set([
  'notifications/cancelled',
  'notifications/progress',
  'notifications/message',
  'notifications/resources/updated',
  'notifications/resources/list_changed',
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/elicitation/complete',
  'notifications/subscriptions/acknowledged',
]);

/** Methods that a rule may name in `methods`. */
export const NAMEABLE: readonly string[] = Object.freeze(
  [...CLIENT_METHODS].filter(([, { subject }]) => subject === 'method' || subject === 'protocol').map(([name]) => name),
);

/** Names of tools and prompts (MCP 2025-11-25, tools): case-sensitive and of one alphabet, so that none can look like another. */
export const NAME = /^[A-Za-z0-9_.-]{1,128}$/;
