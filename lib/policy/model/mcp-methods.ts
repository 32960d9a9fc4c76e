/**
 * The methods of MCP that are known here, as data; what is not in these tables is denied. Protocol
 * versions 2025-06-18 and 2025-11-25 (`session`: handshake, streams, requests by the server) and
 * 2026-07-28 (`stateless`). Tasks (`tasks/*`) are not built and so not known.
 */
export const MCP_VERSIONS = Object.freeze(['2025-06-18', '2025-11-25', '2026-07-28'] as const);
export type McpVersion = (typeof MCP_VERSIONS)[number];

/** Versions that there are; the older ones are known and not spoken. */
export const KNOWN_VERSIONS: readonly string[] = Object.freeze([
  '2024-11-05',
  '2025-03-26',
  ...MCP_VERSIONS,
]);

/** Whether a version knows no handshake, no session and no request by the server. */
export function isStateless(version: McpVersion): boolean {
  return version === '2026-07-28';
}

/**
 * What a rule allows a method by: its tool, prompt or resource, the method itself, or nothing,
 * because it belongs to every conversation.
 */
export type Subject = 'tool' | 'prompt' | 'resource' | 'reference' | 'method' | 'protocol';

export interface MethodRow {
  readonly subject: Subject;
  readonly kind: 'request' | 'notification';
  readonly versions: 'session' | 'stateless' | 'both';
  /** Members of `params` that it has, besides `_meta`. */
  readonly params: readonly string[];
}

const words = (text: string): readonly string[] => text.split(' ').filter((word) => word !== '');

const request = (
  subject: Subject,
  params = '',
  versions: MethodRow['versions'] = 'both',
): MethodRow => ({
  subject,
  kind: 'request',
  versions,
  params: words(params),
});
const notification = (params = '', versions: MethodRow['versions'] = 'session'): MethodRow => ({
  subject: 'protocol',
  kind: 'notification',
  versions,
  params: words(params),
});
/** What 2026-07-28 adds where a request is made again with what the server asked for. */
const AGAIN = 'inputResponses requestState';

/** From the agent to the server. */
export const CLIENT_METHODS: ReadonlyMap<string, MethodRow> = new Map([
  ['initialize', request('protocol', 'protocolVersion capabilities clientInfo', 'session')],
  ['notifications/initialized', notification()],
  ['notifications/cancelled', notification('requestId', 'both')],
  ['notifications/progress', notification('progressToken progress total')],
  ['notifications/roots/list_changed', notification()],
  ['ping', request('protocol', '', 'session')],
  ['server/discover', request('protocol', '', 'stateless')],
  ['tools/list', request('protocol', 'cursor')],
  ['prompts/list', request('protocol', 'cursor')],
  ['resources/list', request('protocol', 'cursor')],
  ['resources/templates/list', request('protocol', 'cursor')],
  ['tools/call', request('tool', `name arguments ${AGAIN}`)],
  ['prompts/get', request('prompt', `name arguments ${AGAIN}`)],
  ['resources/read', request('resource', `uri ${AGAIN}`)],
  ['resources/subscribe', request('resource', 'uri', 'session')],
  ['resources/unsubscribe', request('resource', 'uri', 'session')],
  ['completion/complete', request('reference', 'ref argument context')],
  ['logging/setLevel', request('method', 'level', 'session')],
  ['subscriptions/listen', request('method', 'notifications', 'stateless')],
]);

/**
 * Requests by the server, in a stream or, in 2026-07-28, inside a result. Only ping needs no
 * permission.
 */
export const SERVER_REQUESTS = Object.freeze([
  'sampling/createMessage',
  'elicitation/create',
  'roots/list',
] as const);

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
  [...CLIENT_METHODS]
    .filter(([, { subject }]) => subject === 'method' || subject === 'protocol')
    .map(([name]) => name),
);

/**
 * Names of tools and prompts (MCP 2025-11-25, tools): case-sensitive and of one alphabet, so that
 * none can look like another.
 */
export const NAME = /^[A-Za-z0-9_.-]{1,128}$/;
