/**
 * The one error class. A Fault is what went wrong in the world (bad input, a peer, the network,
 * policy); misuse of our own functions stays a TypeError. Rules:
 * - the message names the place, the value's problem; the hint says the fix; neither ever holds a
 *   secret;
 * - the code is looked up in one table that says the HTTP status, the exit status and whether
 *   trying again can help;
 * - a Fault travels unchanged from where it is found to where it is answered.
 */

interface CodeRow {
  /** Status of the answer to an HTTP client, when no head was sent yet (RFC 9110 section 15). */
  readonly http: number;
  /** Exit status of the command line (docs/exit-status.md). */
  readonly exit: number;
  /** Whether the same request may succeed later without a change of configuration. */
  readonly retriable: boolean;
}

const row = (http: number, exit: number, retriable = false): CodeRow => ({ http, exit, retriable });

/** Every code there is. Names are stable: they stand in answers, records and metrics. */
export const CODES = {
  // What the client sent.
  malformed: row(400, 65),
  ambiguous: row(400, 65),
  'head-too-large': row(431, 65),
  'target-too-long': row(414, 65),
  'body-too-large': row(413, 65),
  'request-timeout': row(408, 75, true),
  'method-not-supported': row(501, 65),
  'expectation-failed': row(417, 65),
  'upgrade-not-supported': row(400, 65),
  'bad-json': row(400, 65),
  'bad-message': row(400, 65),
  'header-mismatch': row(400, 65),
  'unsupported-version': row(400, 65),
  'unsupported-media': row(415, 65),
  'session-unknown': row(404, 77),
  misdirected: row(421, 65),
  loop: row(508, 65),
  // What policy said.
  denied: row(403, 77),
  'wrong-entry': row(403, 77),
  'address-refused': row(403, 77),
  'no-longer-allowed': row(403, 77),
  'task-unknown': row(407, 77),
  'task-required': row(407, 77),
  'task-refused': row(403, 77),
  'task-ended': row(403, 77),
  'step-up-required': row(403, 77),
  webhook: row(502, 76),
  'webhook-unreachable': row(502, 69, true),
  'no-such-step-up': row(404, 66),
  'no-such-call': row(404, 66),
  'no-such-agent': row(404, 66),
  'no-such-task': row(404, 66),
  'not-yours': row(403, 77),
  'too-many': row(503, 75, true),
  'quota-spent': row(429, 75, true),
  // Ourselves.
  'no-identity': row(503, 75, true),
  'identity-expired': row(503, 75, true),
  'no-trust-bundle': row(503, 75, true),
  'audit-unavailable': row(503, 74, true),
  'credential-unavailable': row(503, 75, true),
  'shutting-down': row(503, 75, true),
  internal: row(500, 70),
  // The upstream.
  'upstream-unresolved': row(502, 68, true),
  'upstream-refused': row(502, 69, true),
  'upstream-tls': row(502, 76),
  'upstream-identity': row(502, 76),
  'upstream-cut': row(502, 76, true),
  'upstream-malformed': row(502, 76),
  'via-refused': row(502, 69),
  'response-too-large': row(502, 65),
  'upstream-timeout': row(504, 75, true),
  // The client of a connection.
  'client-gone': row(499, 75, true),
  'client-tls': row(400, 76),
  // Identity.
  'bad-spiffe-id': row(400, 65),
  'bad-pattern': row(400, 65),
  'bad-svid': row(502, 76),
  'bad-bundle': row(502, 76),
  'bad-jwt-svid': row(401, 76),
  'workload-api-address': row(500, 64),
  'workload-api-unavailable': row(503, 69, true),
  'workload-api-denied': row(503, 77, true),
  'workload-api-refused': row(503, 78),
  'workload-api-message': row(503, 76, true),
  // Configuration and the command line.
  usage: row(500, 64),
  config: row(500, 78),
  'config-unreadable': row(500, 66),
  listen: row(500, 71),
  'api-unreachable': row(502, 69, true),
  mirror: row(500, 74),
  'intercept-ca': row(500, 74),
  'trust-files': row(500, 74),
  'on-update': row(500, 71),
  timeout: row(504, 75, true),
  aborted: row(499, 75, true),
} as const satisfies Record<string, CodeRow>;

export type Code = keyof typeof CODES;

export interface FaultOptions {
  readonly hint?: string;
  readonly cause?: unknown;
  /** Seconds after which it may be different. */
  readonly retryAfter?: number;
  /** Where in the user's input: `file:line:column`, a header, a field. */
  readonly at?: string;
}

export class Fault extends Error {
  readonly code: Code;
  readonly hint: string | undefined;
  readonly at: string | undefined;
  readonly retryAfter: number | undefined;

  constructor(code: Code, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'Fault';
    this.code = code;
    this.hint = options.hint;
    this.at = options.at;
    this.retryAfter = options.retryAfter;
  }

  get http(): number {
    return CODES[this.code].http;
  }

  get exit(): number {
    return CODES[this.code].exit;
  }

  get retriable(): boolean {
    return CODES[this.code].retriable;
  }

  /**
   * The value itself when it is a Fault already, else a Fault of `code` that keeps it as its cause.
   */
  static from(value: unknown, code: Code, message?: string): Fault {
    if (value instanceof Fault) return value;
    const text = value instanceof Error ? value.message : String(value);
    return new Fault(code, message === undefined ? text : `${message}: ${text}`, { cause: value });
  }

  /** One line for people: `at: message (hint)`. */
  describe(): string {
    const place = this.at === undefined ? '' : `${this.at}: `;
    return this.hint === undefined
      ? `${place}${this.message}`
      : `${place}${this.message}; ${this.hint}`;
  }
}
