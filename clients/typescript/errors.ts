/**
 * What goes wrong between an agent and its sidecar: it said no, or it is not there. Anything else
 * that a call throws is of the network or of the caller.
 */

export interface Refusal {
  /** HTTP status; of a tunnel, that of its CONNECT. */
  readonly status: number;
  /** Stable, such as `denied`, `step-up-required`, `task-unknown` or `upstream-refused`. */
  readonly code: string;
  /** The reason and what to do. */
  readonly message: string;
  /** The rule that decided. */
  readonly rule?: string | undefined;
  /** Where in what was sent. */
  readonly at?: string | undefined;
  /** Names the exchange in the records of the sidecar. */
  readonly decision?: string | undefined;
  /** Seconds after which it may be different. */
  readonly retryAfter?: number | undefined;
}

/** The sidecar answered in place of the upstream, in the words of its record. */
export class Refused extends Error implements Refusal {
  readonly status: number;
  readonly code: string;
  readonly rule: string | undefined;
  readonly at: string | undefined;
  readonly decision: string | undefined;
  readonly retryAfter: number | undefined;

  constructor({ status, code, message, rule, at, decision, retryAfter }: Refusal) {
    super(message);
    this.name = 'Refused';
    this.status = status;
    this.code = code;
    this.rule = rule;
    this.at = at;
    this.decision = decision;
    this.retryAfter = retryAfter;
  }
}

/** Nothing that is a sidecar answers there. */
export class Unreachable extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'Unreachable';
  }

  /** There is no listener at all: the sidecar has ended. Otherwise it may be busy. */
  get nobodyListens(): boolean {
    const { cause } = this;
    return (
      cause instanceof Error &&
      'code' in cause &&
      (cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED')
    );
  }
}

export interface Answered {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/**
 * The refusal that an answer through the proxy is; undefined when it came from the upstream. Every
 * answer has the decision in a header, which no upstream ever sees: only the sidecar can say it
 * again in the body. A 407 is a proxy's own by its meaning (RFC 9110 section 15.5.8).
 */
export function refusalOf({ status, text, headers }: Answered): Refused | undefined {
  const decision = headers['chaperone-decision'];
  const error = errorIn(text) ?? errorInLine(text);
  if (decision === undefined || error?.decision !== decision) {
    if (status !== 407) return undefined;
    return new Refused({
      status,
      code: 'task-unknown',
      message: 'the sidecar asks for the credentials of a live task',
    });
  }
  const wait = Number(headers['retry-after']);
  return new Refused({ ...error, status, retryAfter: Number.isFinite(wait) ? wait : undefined });
}

/** An error of the agent API. */
export function apiError({ status, text }: Answered): Error {
  const error = errorIn(text);
  return error === undefined
    ? new Unreachable(`an answer with status ${status} is not that of a sidecar`)
    : new Refused({ ...error, status });
}

function errorIn(text: string): Omit<Refusal, 'status'> | undefined {
  const answer = parsed(text);
  const [code, message] = [textIn(answer, 'error'), textIn(answer, 'message')];
  if (code === undefined || message === undefined) return undefined;
  const rest = { rule: textIn(answer, 'rule'), at: textIn(answer, 'at') };
  return { code, message, ...rest, decision: textIn(answer, 'decision') };
}

/** What clients are told that do not ask for JSON. */
function errorInLine(text: string): Omit<Refusal, 'status'> | undefined {
  const [, message, code, rule, decision] =
    /^(.*) \[chaperone: ([a-z-]+)(?:, rule (.+))?, decision ([\w-]+)\]\n?$/.exec(text) ?? [];
  return message === undefined || code === undefined
    ? undefined
    : { code, message, rule, decision };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined;
}

function textIn(value: unknown, name: string): string | undefined {
  const found = memberOf(value, name);
  return typeof found === 'string' ? found : undefined;
}
