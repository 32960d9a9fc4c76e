/**
 * The evidence records and their one canonical shape: one `decided` (or `refused`, when the request
 * could not be parsed) and one `ended` per exchange, `redecided` when a change of policy or
 * identity touched it, `task` for what happens to a task, and `lifecycle` for the sidecar itself.
 * Redaction is by construction: a record has no field that could hold a header value, a query, a
 * body or a key. Text that came from outside is cut to a stated length before it gets here.
 */

interface Common {
  /** RFC 3339 UTC with milliseconds. */
  readonly time: string;
}

interface OfExchange extends Common {
  /**
   * Identifies the exchange in all its records and in the answer's `chaperone-decision` field:
   * UUID-shaped, unique.
   */
  readonly exchange: string;
}

export interface DecidedRecord extends OfExchange {
  readonly kind: 'decided';
  readonly entry: string;
  /** The exchange of the CONNECT inside which this one came, where it was intercepted. */
  readonly tunnel?: string | undefined;
  /** The exchange before whose decision the sidecar itself asked this of the upstream. */
  readonly asker?: string | undefined;
  readonly effect: 'allow' | 'deny';
  readonly code: string;
  readonly reason: string;
  readonly rule?: string | undefined;
  readonly action?: string | undefined;
  /** Rules whose conditions could not be evaluated, and why: `name: words; …`. */
  readonly policyError?: string | undefined;
  readonly destination?: string | undefined;
  readonly dataClass?: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly method?: string | undefined;
  /** Canonical path without the query, at most 512 characters. */
  readonly path?: string | undefined;
  /**
   * Of a message of MCP: its method, what it is about, and the SHA-256 of the canonical JSON of its
   * arguments, never the arguments.
   */
  readonly mcpMethod?: string | undefined;
  readonly mcpVersion?: string | undefined;
  readonly tool?: string | undefined;
  readonly prompt?: string | undefined;
  readonly resource?: string | undefined;
  readonly argsDigest?: string | undefined;
  readonly policy: number;
  readonly policyDigest: string;
  /** Identity generation; 0 when there is none. */
  readonly identity: number;
  /** Our own SPIFFE ID at that generation. */
  readonly spiffeId?: string | undefined;
  /** Name of the agent that was proved to have asked: by a task, or by the folder of its socket. */
  readonly agent?: string | undefined;
  /** The task it belongs to. */
  readonly task?: string | undefined;
  /**
   * What an approval of the call is bound to, where it needs one or lives on one: `sha-256:` and
   * base64url.
   */
  readonly parameters?: string | undefined;
  /** The approved step-up that it used. */
  readonly stepUp?: string | undefined;
}

/** A request that could not be parsed far enough to be decided. */
export interface RefusedRecord extends OfExchange {
  readonly kind: 'refused';
  readonly entry: string;
  readonly tunnel?: string | undefined;
  readonly agent?: string | undefined;
  readonly code: string;
  readonly reason: string;
}

export interface RedecidedRecord extends OfExchange {
  readonly kind: 'redecided';
  readonly effect: 'allow' | 'deny';
  readonly code: string;
  readonly reason: string;
  readonly policy: number;
  readonly identity: number;
}

export interface EndedRecord extends OfExchange {
  readonly kind: 'ended';
  /** `completed`, or the code of the Fault that ended it. */
  readonly outcome: string;
  readonly reason?: string | undefined;
  /** Status sent to the agent, when one was. */
  readonly status?: number | undefined;
  /** The refusal of a CONNECT was told inside its tunnel: `status` is the one there. */
  readonly toldInside?: true | undefined;
  /** Status of a gRPC call. */
  readonly grpcStatus?: number | undefined;
  /** Verified SPIFFE ID of the peer; `unverified` for passthrough and plaintext. */
  readonly peer?: string | undefined;
  /** Serial of the SVID the upstream saw. */
  readonly serial?: string | undefined;
  /** Kind of the credential that was added to the request: `jwt-svid`. */
  readonly credential?: string | undefined;
  /** What of the answer was not passed on, in words. */
  readonly withheld?: string | undefined;
  /** Judged and dialled address. */
  readonly address?: string | undefined;
  /** The proxy that `address` is of, when the upstream was reached through one. */
  readonly via?: string | undefined;
  /** Bytes from the agent and to the agent. */
  readonly sent: number;
  readonly received: number;
  readonly durationMs: number;
}

export interface LifecycleRecord extends Common {
  readonly kind: 'lifecycle';
  readonly event:
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
  readonly detail: Readonly<Record<string, string | number>>;
}

/** What happened to a task (lib/tasks/events.ts). Its secret is in none of them. */
export interface TaskRecord extends Common {
  readonly kind: 'task';
  readonly event: string;
  readonly task: string;
  readonly agent?: string | undefined;
  readonly detail: Readonly<Record<string, string | number>>;
}

/**
 * Refusals of one agent that came more often than `audit.refusals` has it, in place of records of
 * their own.
 */
export interface RefusalsRecord extends Common {
  readonly kind: 'refusals';
  /** undefined: nobody has proved to be an agent. */
  readonly agent?: string | undefined;
  /** Time of the first of them, as `time`. */
  readonly since: string;
  readonly count: number;
  /** How many by code of the decision or the fault. */
  readonly codes: Readonly<Record<string, number>>;
}

export type AuditRecord =
  | DecidedRecord
  | RefusedRecord
  | RedecidedRecord
  | EndedRecord
  | LifecycleRecord
  | TaskRecord
  | RefusalsRecord;

/** Where evidence goes. */
export interface AuditLog {
  /**
   * Settles when the record is with the operating system on every sink; rejects with an
   * `audit-unavailable` Fault otherwise. Records that are written together may share one promise;
   * promises settle in the order of writing.
   */
  write(record: AuditRecord): Promise<void>;
}
