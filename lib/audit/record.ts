/**
 * The records of evidence, as one table: what a record may hold, in which order it is written, and
 * what the reference page says of it. One `decided` (or `refused`, when the request could not be
 * parsed) and one `ended` per exchange, `redecided` when a change of policy or identity touched it,
 * `task` for what happens to a task, and `lifecycle` for the sidecar itself. Redaction is by
 * construction: no row could hold a header value, a query, a body or a key.
 */
import { map, type Members, optional, outside, own, type Rows } from './row.ts';

type Effect = 'allow' | 'deny';

type LifecycleEvent =
  | 'started'
  | 'ready'
  | 'identity-updated'
  | 'identity-withdrawn'
  | 'identity-expired'
  | 'policy-loaded'
  | 'policy-rejected'
  | 'definition-approved'
  | 'interception-authority'
  | 'evidence-resumed'
  | 'draining'
  | 'stopped';

const EXCHANGE = own(
  'Identifies the exchange in all its records and in the `chaperone-decision` field of the answer.',
);
const ENTRY = own('How the request came in, such as `forward`.');
const TUNNEL = optional(
  own('The exchange of the CONNECT inside which this one came, where it was intercepted.'),
);
const AGENT = optional(
  own('Name of the agent that was proved: by a task, or by the folder of its socket.'),
);
const EFFECT = own<Effect>('What was decided.');
const CODE = own('Why, as a code.');
const REASON = outside('Why, in words.');
const POLICY = own<number>('Generation of the policy that decided.');
const IDENTITY = own<number>('Generation of the identity; 0 when there was none.');

const decided = {
  exchange: EXCHANGE,
  entry: ENTRY,
  tunnel: TUNNEL,
  asker: optional(
    own('The exchange before whose decision the sidecar itself asked this of the upstream.'),
  ),
  effect: EFFECT,
  code: CODE,
  reason: REASON,
  rule: optional(outside('The rule that decided.')),
  action: optional(outside('The action that the call counts as.')),
  policyError: optional(
    outside('Rules whose conditions could not be evaluated, and why: `name: words; …`.'),
  ),
  destination: optional(outside('Name of the Destination document.')),
  dataClass: optional(outside('Its data class.')),
  host: outside('The host that was asked for.'),
  port: own<number>('Its port.'),
  method: optional(outside('Method of the request.')),
  path: optional(outside('Canonical path without the query, at most 512 characters.')),
  mcpMethod: optional(outside('Method of the MCP message.')),
  mcpVersion: optional(outside('Version of MCP.')),
  tool: optional(outside('Name of the tool that is called.')),
  prompt: optional(outside('Name of the prompt that is asked for.')),
  resource: optional(outside('URI of the resource that is asked for.')),
  argsDigest: optional(
    own('SHA-256 of the canonical JSON of the arguments, which are in no record.'),
  ),
  policy: POLICY,
  policyDigest: own('Digest of that policy.'),
  identity: IDENTITY,
  spiffeId: optional(outside('Our own SPIFFE ID at that generation.')),
  agent: AGENT,
  task: optional(own('The task that it belongs to.')),
  parameters: optional(
    own(
      'What an approval of the call is bound to, where it needs one or lives on one: `sha-256:` ' +
        'and base64url.',
    ),
  ),
  stepUp: optional(own('The approved step-up that it used.')),
} as const;

const refused = {
  exchange: EXCHANGE,
  entry: ENTRY,
  tunnel: TUNNEL,
  agent: AGENT,
  code: CODE,
  reason: REASON,
} as const;

const redecided = {
  exchange: EXCHANGE,
  effect: EFFECT,
  code: CODE,
  reason: REASON,
  policy: POLICY,
  identity: IDENTITY,
} as const;

const ended = {
  exchange: EXCHANGE,
  outcome: own('`completed`, or the code of what ended it.'),
  reason: optional(REASON),
  status: optional(own<number>('Status sent to the agent, when one was.')),
  toldInside: optional(
    own<true>('The refusal of a CONNECT was sent inside its tunnel: `status` is the one there.'),
  ),
  grpcStatus: optional(own<number>('Status of a gRPC call.')),
  peer: optional(
    outside('Verified SPIFFE ID of the peer; `unverified` for passthrough and plaintext.'),
  ),
  serial: optional(own('Serial of the SVID that the upstream saw.')),
  credential: optional(
    own('Kind of the credential that was added to the request, such as `jwt-svid`.'),
  ),
  withheld: optional(outside('What of the answer was not passed on, in words.')),
  address: optional(own('The address that was judged and dialled.')),
  via: optional(own('The proxy that `address` is of, when the upstream was reached through one.')),
  sent: own<number>('Bytes from the agent.'),
  received: own<number>('Bytes to the agent.'),
  durationMs: own<number>('How long it took, in milliseconds.'),
} as const;

const lifecycle = {
  event: own<LifecycleEvent>('What happened.'),
  detail: map<string | number>('More of it, by name.'),
} as const;

const task = {
  event: own('What happened to the task.'),
  task: own('Its id; its secret is in no record.'),
  agent: AGENT,
  detail: map<string | number>('More of it, by name.'),
} as const;

const refusals = {
  agent: optional(own('Name of the agent; left out where nobody has proved to be one.')),
  since: own('Time of the first of them.'),
  count: own<number>('How many.'),
  codes: map<number>('How many by code of the decision or of the fault.'),
} as const;

interface Kind {
  readonly doc: string;
  /** After `time` and `kind`, in the order of writing. */
  readonly rows: Rows;
}

/** In the order of the reference page. */
export const RECORDS = {
  decided: {
    doc: 'What was decided about an exchange, before anything was sent on.',
    rows: decided,
  },
  refused: { doc: 'A request that could not be parsed far enough to be decided.', rows: refused },
  redecided: {
    doc: 'A change of policy, identity or task touched an exchange under way.',
    rows: redecided,
  },
  ended: { doc: 'What became of an exchange.', rows: ended },
  task: { doc: 'What happened to a task.', rows: task },
  refusals: {
    doc:
      'Refusals of one agent that came more often than `audit.refusals` has it, in place of ' +
      'records of their own.',
    rows: refusals,
  },
  lifecycle: { doc: 'What happened to the sidecar itself.', rows: lifecycle },
} as const satisfies Readonly<Record<string, Kind>>;

export type RecordKind = keyof typeof RECORDS;

type RecordOf<K extends RecordKind> = {
  readonly kind: K;
  /** RFC 3339 UTC with milliseconds. */
  readonly time: string;
} & Members<(typeof RECORDS)[K]['rows']>;

export type DecidedRecord = RecordOf<'decided'>;
export type EndedRecord = RecordOf<'ended'>;
export type LifecycleRecord = RecordOf<'lifecycle'>;
export type RefusalsRecord = RecordOf<'refusals'>;

export type AuditRecord = { readonly [K in RecordKind]: RecordOf<K> }[RecordKind];

/** Where evidence goes. */
export interface AuditLog {
  /**
   * Settles when the record is with the operating system on every sink; rejects with an
   * `audit-unavailable` Fault otherwise. Records that are written together may share one promise;
   * promises settle in the order of writing.
   */
  write(record: AuditRecord): Promise<void>;
}
