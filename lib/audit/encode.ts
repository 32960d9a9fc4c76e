/**
 * A record as one line of JSON, the only form in which evidence is written. Rules:
 * - one fixed order of keys for each kind, no white space: equal records, equal bytes;
 * - what a record's type does not name is not written, whatever the object holds;
 * - text is cut to `MAX_TEXT` characters and escaped beyond what JSON asks for, so that no text
 *   from outside can end a line, colour a terminal or turn its direction: C0, DEL and C1 controls,
 *   line and paragraph separators, bidirectional and invisible marks, lone surrogates.
 */
import type {
  AuditRecord,
  DecidedRecord,
  EndedRecord,
  LifecycleRecord,
  RedecidedRecord,
  RefusalsRecord,
  RefusedRecord,
  TaskRecord,
} from './record.ts';

export const MAX_TEXT = 1024;

/** The record with its line end. */
export function encodeRecord(record: AuditRecord): string {
  return `${escapeMarks(JSON.stringify(ordered(record)))}\n`;
}

/**
 * JSON text with the marks escaped that JSON lets through and a terminal or an editor obeys: C1
 * controls, separators, directions, invisible ones.
 */
export function escapeMarks(json: string): string {
  return isPlain(json) ? json : json.replace(HARMFUL, escaped);
}

/**
 * ASCII without DEL; JSON has escaped the other controls already. Much cheaper than to search for
 * every mark in every line.
 */
function isPlain(line: string): boolean {
  return Buffer.byteLength(line) === line.length && !line.includes('\u007f');
}

const HARMFUL =
  /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** What JSON itself lets through; outside of texts none of these marks occurs. */
function escaped(mark: string): string {
  return `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * A new object with the members of its kind in order; those that are undefined are left out by
 * JSON.
 */
function ordered(record: AuditRecord): object {
  switch (record.kind) {
    case 'decided':
      return decided(record);
    case 'refused':
      return refused(record);
    case 'redecided':
      return redecided(record);
    case 'ended':
      return ended(record);
    case 'lifecycle':
      return lifecycle(record);
    case 'task':
      return task(record);
    case 'refusals':
      return refusals(record);
  }
}

function cut<T extends string | undefined>(text: T): T | string {
  return text !== undefined && text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

const decided = (record: DecidedRecord): object => ({
  time: record.time,
  kind: record.kind,
  exchange: record.exchange,
  entry: record.entry,
  tunnel: record.tunnel,
  asker: record.asker,
  effect: record.effect,
  code: record.code,
  reason: cut(record.reason),
  rule: cut(record.rule),
  action: cut(record.action),
  policyError: cut(record.policyError),
  destination: cut(record.destination),
  dataClass: cut(record.dataClass),
  host: cut(record.host),
  port: record.port,
  method: cut(record.method),
  path: cut(record.path),
  mcpMethod: cut(record.mcpMethod),
  mcpVersion: cut(record.mcpVersion),
  tool: cut(record.tool),
  prompt: cut(record.prompt),
  resource: cut(record.resource),
  argsDigest: record.argsDigest,
  policy: record.policy,
  policyDigest: record.policyDigest,
  identity: record.identity,
  spiffeId: cut(record.spiffeId),
  agent: record.agent,
  task: record.task,
  parameters: record.parameters,
  stepUp: record.stepUp,
});

const refused = (record: RefusedRecord): object => ({
  time: record.time,
  kind: record.kind,
  exchange: record.exchange,
  entry: record.entry,
  tunnel: record.tunnel,
  agent: record.agent,
  code: record.code,
  reason: cut(record.reason),
});

const redecided = (record: RedecidedRecord): object => ({
  time: record.time,
  kind: record.kind,
  exchange: record.exchange,
  effect: record.effect,
  code: record.code,
  reason: cut(record.reason),
  policy: record.policy,
  identity: record.identity,
});

const ended = (record: EndedRecord): object => ({
  time: record.time,
  kind: record.kind,
  exchange: record.exchange,
  outcome: record.outcome,
  reason: cut(record.reason),
  status: record.status,
  toldInside: record.toldInside,
  grpcStatus: record.grpcStatus,
  peer: cut(record.peer),
  serial: record.serial,
  credential: record.credential,
  withheld: cut(record.withheld),
  address: record.address,
  via: record.via,
  sent: record.sent,
  received: record.received,
  durationMs: record.durationMs,
});

const lifecycle = ({ time, kind, event, detail }: LifecycleRecord): object => ({
  time,
  kind,
  event,
  detail: sorted(detail),
});

const task = ({ time, kind, event, task: id, agent, detail }: TaskRecord): object => ({
  time,
  kind,
  event,
  task: id,
  agent,
  detail: sorted(detail),
});

const refusals = ({ time, kind, agent, since, count, codes }: RefusalsRecord): object => ({
  time,
  kind,
  agent,
  since,
  count,
  codes: sorted(codes),
});

function sorted(detail: LifecycleRecord['detail']): LifecycleRecord['detail'] {
  return Object.fromEntries(
    Object.keys(detail)
      .sort()
      .map((name) => [
        name,
        typeof detail[name] === 'string' ? cut(detail[name]) : (detail[name] ?? ''),
      ]),
  );
}
