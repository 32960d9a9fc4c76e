/**
 * From an exchange to its records: exactly one `decided` (or `refused`) and one `ended`, and
 * `redecided` when a change touched it. Text that came from outside is cut and freed of control
 * characters here; no header value, query or body ever enters a record.
 */
import type { AuditLog, AuditRecord, DecidedRecord } from '../audit/record.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import type { McpFacts } from '../policy/model/facts.ts';
import type { Rate } from '../policy/model/rule.ts';
import { shownPath, shownUri } from '../policy/model/shown.ts';
import type { Exchange, Authorization } from './exchange.ts';
import { refusals } from './refusals.ts';

export interface Evidence {
  /**
   * Settles when the decision may be acted upon; rejects with `audit-unavailable` when it must not
   * be.
   */
  decided(exchange: Exchange, authorization: Authorization): Promise<void>;
  refused(exchange: Exchange, fault: Fault): void;
  redecided(exchange: Exchange, change: Redecision): void;
  ended(exchange: Exchange, fault: Fault | undefined): void;
  /** Settles when all records written so far have been, or have failed to be. */
  settled(): Promise<void>;
}

interface Redecision {
  readonly effect: 'allow' | 'deny';
  readonly code: string;
  readonly reason: string;
  readonly policy: number;
  readonly identity: number;
}

export interface EvidenceOptions {
  readonly audit: AuditLog;
  readonly clock: Clock;
  /**
   * Effect of a decision that cannot be recorded: nothing leaves, or it goes on without evidence.
   */
  readonly onFailure: 'deny' | 'continue';
  /** Rate at which refusals of one agent have records of their own; undefined: always. */
  readonly refusals?: Rate | undefined;
}

const MAX_TEXT = 300;
const MAX_PATH = 512;
// eslint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

/** At most 300 characters, none of them able to break a line or to steer a terminal. */
export function plain(text: string): string {
  return (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text).replace(UNSAFE, '?');
}

export function evidence({ audit, clock, onFailure, refusals: rate }: EvidenceOptions): Evidence {
  const timestamp = timestamps(clock);
  const failed = onFailure === 'deny' ? refuse : noted;
  // The log gives the records of one batch one promise: what follows from it is made once.
  let newest: Promise<void> | undefined;
  let permitting: { readonly done: Promise<void>; readonly permission: Promise<void> } | undefined;

  const write = (record: AuditRecord): Promise<void> => {
    const done = audit.write(record);
    if (done === newest) return done;
    newest = done;
    ignore(
      done,
      'a failure is counted by the log itself, and what must not go on without its record ' +
        'waits for it',
    );
    return done;
  };

  const refused = refusals({ clock, rate, write: (record) => void write(record) });
  /** True if the refusal has been counted in place of its records. */
  const counted = (exchange: Exchange, code: string): boolean => {
    exchange.counted = exchange.hasShare && !refused.recorded(exchange.share, code);
    return exchange.counted;
  };

  return {
    decided(exchange, authorization) {
      const { effect, code } = authorization.decision;
      if (effect === 'deny' && counted(exchange, code)) return RECORDED;
      const done = write(decidedRecord(timestamp(), exchange, authorization));
      if (permitting?.done !== done) permitting = { done, permission: done.catch(failed) };
      return permitting.permission;
    },
    refused(exchange, fault) {
      if (!counted(exchange, fault.code)) void write(refusedRecord(timestamp(), exchange, fault));
    },
    redecided(exchange, change) {
      void write({
        kind: 'redecided',
        time: timestamp(),
        exchange: exchange.id,
        ...change,
        reason: plain(change.reason),
      });
    },
    ended(exchange, fault) {
      if (exchange.counted) return;
      void write(endedRecord(timestamp(), exchange, { fault, now: clock.monotonic() }));
    },
    async settled() {
      refused.flush();
      await newest?.catch(noted);
    },
  };
}

const RECORDED = Promise.resolve();

/**
 * These records tell what has happened already: the log counts the failure, and the next decision
 * meets it.
 */
function noted(): void {}

function refuse(failure: unknown): never {
  throw unrecorded(failure);
}

function unrecorded(failure: unknown): Fault {
  const cause = failure instanceof Error ? failure.message : String(failure);
  const hint =
    'nothing was sent; free the disk or repair the sink, or set audit.onFailure to continue';
  if (failure instanceof Fault)
    return new Fault('audit-unavailable', failure.message, {
      hint: failure.hint ?? hint,
      cause: failure,
    });
  return new Fault('audit-unavailable', `the decision could not be recorded: ${cause}`, {
    hint,
    cause: failure,
  });
}

function refusedRecord(time: string, exchange: Exchange, fault: Fault): AuditRecord {
  const { id, entry, tunnel, agent } = exchange;
  return {
    kind: 'refused',
    time,
    exchange: id,
    entry,
    ...(tunnel === undefined ? undefined : { tunnel }),
    ...(agent === undefined ? undefined : { agent: agent.name }),
    code: fault.code,
    reason: plain(fault.message),
  };
}

function decidedRecord(
  time: string,
  exchange: Exchange,
  authorization: Authorization,
): AuditRecord {
  const { decision, facts, policy, identity } = authorization;
  const { destination, rule, action, policyError } = decision;
  const { http, mcp, grpc } = facts;
  const record: DecidedRecord = {
    kind: 'decided',
    time,
    exchange: exchange.id,
    entry: exchange.entry,
    tunnel: exchange.tunnel,
    asker: exchange.asker,
    effect: decision.effect,
    code: decision.code,
    reason: plain(decision.reason),
    rule,
    action,
    policyError,
    destination: destination?.name,
    dataClass: destination?.dataClass,
    host: facts.host,
    port: facts.port,
    method: grpc === undefined ? http && plain(http.method) : `${grpc.service}/${grpc.method}`,
    path: http && shownPath(http.path).slice(0, MAX_PATH),
    policy: policy.generation,
    policyDigest: policy.digest,
    identity: identity?.generation ?? 0,
    spiffeId: identity?.svid.id,
    agent: exchange.agent?.name,
    task: exchange.task?.id,
    parameters: decision.parameters,
    stepUp: decision.approval?.id,
  };
  return mcp === undefined ? record : { ...record, ...messageFields(mcp) };
}

function messageFields(message: McpFacts): Partial<DecidedRecord> {
  const { kind, method, version, tool, prompt, resource, argsDigest } = message;
  return {
    mcpMethod: plain(kind === 'request' || kind === 'notification' ? method : kind),
    mcpVersion: version,
    tool,
    prompt: prompt && plain(prompt),
    resource: resource && shownUri(resource).slice(0, MAX_PATH),
    argsDigest,
  };
}

const IN_ORDER = '; its stream of events was ended in order';

function endedRecord(
  time: string,
  exchange: Exchange,
  end: { readonly fault: Fault | undefined; readonly now: number },
): AuditRecord {
  const { fault, now } = end;
  const { upstream, status, grpcStatus, credential, withheld } = exchange;
  return {
    kind: 'ended',
    time,
    exchange: exchange.id,
    outcome: fault?.code ?? 'completed',
    reason:
      fault === undefined ? undefined : plain(fault.message) + (exchange.inOrder ? IN_ORDER : ''),
    status,
    toldInside: exchange.toldInside ? true : undefined,
    grpcStatus,
    address: upstream?.address,
    via: upstream?.via,
    peer: upstream === undefined ? undefined : (upstream.peer?.spiffeId ?? 'unverified'),
    serial: upstream?.serial,
    credential,
    withheld: withheld === undefined ? undefined : plain(withheld.join('; ')),
    sent: exchange.sent,
    received: exchange.received,
    durationMs: Math.round((now - exchange.started) * 1000) / 1000,
  };
}

/** RFC 3339 in UTC; the text is made once a millisecond, not once a record. */
function timestamps(clock: Clock): () => string {
  let at = NaN;
  let text = '';
  return () => {
    const now = clock.now();
    if (now !== at) {
      at = now;
      text = new Date(now).toISOString();
    }
    return text;
  };
}
