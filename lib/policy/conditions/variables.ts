/**
 * What a condition may speak of, as data: the variables of each phase, their types, the functions.
 * The type check when a document is loaded, the values when a request is judged
 * (lib/policy/conditions/scope.ts) and the reference page are all made from these tables.
 */

import type { Phase } from '../model/condition.ts';

export interface FieldRow {
  readonly type: string;
  readonly doc: string;
}

/** CEL type name to its fields; a field that is not known is a missing key. */
export type TypeTable = Readonly<Record<string, Readonly<Record<string, FieldRow>>>>;

const row = (type: string, doc: string): FieldRow => Object.freeze({ type, doc });

const WHERE = {
  host: row('string', 'Canonical host that is asked for.'),
  port: row('int', 'Port that is asked for.'),
  time: row(
    'google.protobuf.Timestamp',
    'When it was asked; methods such as `getHours()` are in UTC.',
  ),
};

export const TYPES = {
  Connection: WHERE,
  Request: {
    method: row('string', 'As sent; methods are case-sensitive.'),
    path: row(
      'string',
      'Canonical path: the very text that is sent, `%2F` and `//` where they are kept. ' +
        'Escapes stay: `%3A` is not `:` here, as it is in `http.paths`.',
    ),
    query: row(
      'list<Param>',
      'Parameters in order, decoded as HTML forms are. No answer where the query holds a ' +
        '`;`, which servers read differently.',
    ),
    headers: row('list<Header>', 'Header fields by name, secrets left out.'),
    websocket: row('bool', 'Whether an upgrade to WebSocket is asked for.'),
    ...WHERE,
  },
  Param: {
    name: row('string', 'Decoded name.'),
    value: row('string', "Decoded value; '' without one."),
  },
  Header: {
    name: row('string', 'Lower case.'),
    values: row('list<string>', 'One for each field line, in order; commas are not split.'),
  },
  Destination: {
    name: row('string', 'Name of the document.'),
    dataClass: row('string', 'Its data class; `rank()` orders them.'),
    protocol: row('string', '`http`, `tcp` …'),
  },
  Identity: {
    spiffeId: row('string', 'The whole SPIFFE ID.'),
    trustDomain: row('string', 'Its trust domain.'),
  },
  Task: {
    id: row('string', 'Its id.'),
    purpose: row('string', 'What it was opened for.'),
    owner: row('string', 'Who owns it: a claim of the agent.'),
    onBehalfOf: row(
      'string',
      'For whom it is done: a claim of the agent; missing where it named nobody.',
    ),
    depth: row('int', '0 for a task that was opened, 1 for one derived from it, and so on.'),
    read: row('string', 'The highest data class that was read so far, or `none`.'),
    wrote: row('string', 'The highest data class that was written so far, or `none`.'),
    actions: row('list<string>', 'Actions so far.'),
    destinations: row('list<string>', 'Names of the destinations so far.'),
    uses: row('int', 'Allowed exchanges so far.'),
  },
  Intent: {
    purpose: row('string', 'What the task is to be opened for.'),
    owner: row('string', "Who answers for it; '' where nobody is named."),
    onBehalfOf: row('string', "The person for whom it is; '' where nobody is named."),
    destinations: row('list<string>', 'Names of the destinations that are left of its targets.'),
    actions: row('list<string>', 'Actions that are left, those that need a step-up among them.'),
    dataClasses: row('list<string>', 'Data classes that are left.'),
    lifetime: row('int', 'Seconds.'),
    maxCalls: row('int', 'Calls that it may make.'),
    isolated: row('bool', 'Whether it has a history of its own.'),
    depth: row('int', 'How deep it is derived; 0 for one that is opened.'),
    time: row(
      'google.protobuf.Timestamp',
      'When it is opened; methods such as `getHours()` are in UTC.',
    ),
  },
  Mcp: {
    method: row('string', '`tools/call`, `resources/read` …'),
    tool: row('string', 'Name of the tool; missing where no tool is called.'),
    resource: row('string', 'URI of the resource; missing where none is asked for.'),
    prompt: row('string', 'Name of the prompt; missing where none is asked for.'),
  },
  Grpc: {
    service: row('string', '`package.Service`'),
    method: row('string', 'Name of the method.'),
  },
} as const satisfies TypeTable;

export type TypeName = keyof typeof TYPES;

export interface VariableRow {
  readonly type: string;
  readonly phases: readonly Phase[];
  readonly doc: string;
}

const ALL: readonly Phase[] = Object.freeze(['connect', 'request', 'mcp', 'grpc']);
const HTTP: readonly Phase[] = Object.freeze(['request', 'mcp', 'grpc']);

/** By the name in conditions; `request` has two rows, one type in each phase. */
export const VARIABLES: readonly (readonly [string, VariableRow])[] = Object.freeze([
  ['request', { type: 'Request', phases: HTTP, doc: 'What is asked for.' }],
  [
    'request',
    {
      type: 'Connection',
      phases: ['connect'],
      doc: 'What is asked for; nothing inside of it is seen.',
    },
  ],
  ['destination', { type: 'Destination', phases: ALL, doc: 'The destination that is asked for.' }],
  [
    'intent',
    {
      type: 'Intent',
      phases: ['intent'],
      doc: 'The task that is asked for, cut to the TaskPolicy.',
    },
  ],
  [
    'identity',
    { type: 'Identity', phases: ALL, doc: 'Our own identity; no answer while there is none.' },
  ],
  [
    'peer',
    {
      type: 'Identity',
      phases: ALL,
      doc: 'The caller on an inbound listener; no answer elsewhere.',
    },
  ],
  ['task', { type: 'Task', phases: ALL, doc: 'The task it is done for; no answer without one.' }],
  ['mcp', { type: 'Mcp', phases: ['mcp'], doc: 'What is asked of the MCP server.' }],
  [
    'args',
    {
      type: 'map<string, dyn>',
      phases: ['mcp'],
      doc:
        'Arguments of the tool or prompt. Numbers are doubles; one that no double says ' +
        'exactly has no answer.',
    },
  ],
  ['grpc', { type: 'Grpc', phases: ['grpc'], doc: 'What is called.' }],
]);

/** Names of the variables of a phase. */
export function variablesOf(phase: Phase): readonly string[] {
  return VARIABLES.filter(([, { phases }]) => phases.includes(phase)).map(([name]) => name);
}

/** Functions and methods that a condition may call; the rest of the library's are refused. */
export const FUNCTIONS: ReadonlyMap<string, string> = new Map([
  ['size', 'Characters of a string, members of a list or map.'],
  ['has', '`has(args.amount)`: whether the last name is there.'],
  ['int', ''],
  ['double', ''],
  ['string', ''],
  ['bool', ''],
  ['type', '`type(args.amount) == double`'],
  ['dyn', 'Takes a value out of the type check.'],
  ['timestamp', '`timestamp("2026-01-31T00:00:00Z")`, a literal.'],
  ['duration', '`duration("90s")`, a literal.'],
  [
    'rank',
    '`rank(destination.dataClass) < rank("restricted")`: place of a data class, 0 for the ' +
      'lowest, -1 for `none`.',
  ],
]);

export const METHODS: ReadonlyMap<string, string> = new Map([
  ['size', ''],
  ['contains', ''],
  ['startsWith', ''],
  ['endsWith', ''],
  [
    'matches',
    'RE2, unanchored as in CEL; the pattern is a literal and compiled when the document is loaded.',
  ],
  ['lowerAscii', 'A to Z in lower case, everything else as it is.'],
  ['header', '`request.header("content-type")`: its values, [] without it.'],
  ['param', '`request.param("id")`: its values, [] without it.'],
  ['all', ''],
  ['exists', ''],
  ['exists_one', ''],
  ['map', ''],
  ['filter', ''],
  ['getFullYear', ''],
  ['getMonth', '0 is January.'],
  ['getDate', '1 is the first.'],
  ['getDayOfMonth', '0 is the first.'],
  ['getDayOfWeek', '0 is Sunday.'],
  ['getDayOfYear', '0 is the first of January.'],
  ['getHours', ''],
  ['getMinutes', ''],
  ['getSeconds', ''],
  ['getMilliseconds', ''],
]);

/** Methods that run their second argument for each member of a list. */
export const COMPREHENSIONS: ReadonlySet<string> = new Set([
  'all',
  'exists',
  'exists_one',
  'map',
  'filter',
]);

/**
 * What bounds a condition: when it is loaded (characters, nodes, depth, members of a literal) and
 * when it is asked.
 */
export const CONDITION_LIMITS = Object.freeze({
  characters: 4096,
  nodes: 256,
  depth: 32,
  literalMembers: 256,
  patternCharacters: 512,
  /** Parameters of a query, header fields: more are no answer. */
  members: 256,
  /** Values in the arguments of a tool, at every depth together. */
  values: 2048,
  /**
   * Units of work over one decision: one for each node that is evaluated and each turn of a loop,
   * more for characters and members (lib/policy/conditions/cel-meter.ts).
   */
  work: 50_000,
  /** Characters of what `contains` looks for. */
  needle: 1024,
});
