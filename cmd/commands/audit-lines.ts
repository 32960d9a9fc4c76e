/**
 * Which records of the evidence are wanted, and each as a line. Later records of an exchange go
 * with its decision.
 */
import { CODES } from '../../lib/base/fault.ts';

export type Evidence = Readonly<Record<string, unknown>>;

export interface Wanted {
  readonly destination?: string;
  readonly task?: string;
  readonly agent?: string;
  readonly denied?: boolean;
}

/**
 * Exchanges whose end may still come; of more the oldest are forgotten, and their ends stand alone.
 */
const MAX_OPEN = 65_536;
/** Exit status of what policy refused. */
const REFUSED = 77;

interface Decided {
  readonly subject: string;
  readonly matched: boolean;
  readonly denied: boolean;
}

/**
 * Gives what a record is about, in words, '' where it says so itself; undefined when it is not
 * wanted.
 */
export function selection(wanted: Wanted): (record: Evidence) => string | undefined {
  const open = new Map<string, Decided>();
  const note = (record: Evidence): Decided => {
    const denied = record['effect'] === 'deny';
    const decided = { subject: subjectOf(record), matched: matches(record, wanted), denied };
    open.set(text(record, 'exchange'), decided);
    const [oldest = ''] = open.size > MAX_OPEN ? open.keys() : [];
    open.delete(oldest);
    return decided;
  };
  return (record) => {
    const kind = text(record, 'kind');
    if (kind === 'decided') {
      const { matched, denied } = note(record);
      return matched && (denied || wanted.denied !== true) ? '' : undefined;
    }
    if (kind === 'ended' || kind === 'redecided') {
      const before = open.get(text(record, 'exchange'));
      if (kind === 'ended') open.delete(text(record, 'exchange'));
      if (!(before?.matched ?? isAll(wanted))) return undefined;
      if (wanted.denied === true && (before?.denied === true || !isRefusal(record)))
        return undefined;
      return before?.subject ?? '';
    }
    if (wanted.denied === true && !['refused', 'refusals'].includes(kind)) return undefined;
    return matches(record, wanted) ? '' : undefined;
  };
}

function matches(record: Evidence, { destination, task, agent }: Wanted): boolean {
  return (
    (destination === undefined || record['destination'] === destination) &&
    (task === undefined || record['task'] === task) &&
    (agent === undefined || record['agent'] === agent)
  );
}

function isAll({ destination, task, agent }: Wanted): boolean {
  return destination === undefined && task === undefined && agent === undefined;
}

/** Whether what was let through at first was refused later, by policy and not by an accident. */
function isRefusal(record: Evidence): boolean {
  if (record['kind'] === 'redecided') return record['effect'] === 'deny';
  const outcome = text(record, 'outcome');
  return Object.entries(CODES).some(([code, { exit }]) => code === outcome && exit === REFUSED);
}

/** `GET crm.internal:80/v1/x`, with the tool of a message of MCP. */
function subjectOf(record: Evidence): string {
  const called = ['tool', 'prompt', 'resource']
    .map((name) => text(record, name))
    .find((name) => name !== '');
  const mcp = [text(record, 'mcpMethod'), called ?? ''].filter((part) => part !== '');
  const at = `${text(record, 'host')}:${text(record, 'port')}${text(record, 'path')}`;
  return [text(record, 'method') || text(record, 'entry'), at, ...mcp].join(' ');
}

/** One line, not yet safe for a terminal. */
export function recordLine(record: Evidence, subject: string): string {
  const kind = text(record, 'kind');
  const [label, words] = (LINES[kind] ?? unknownLine)(record, subject);
  return `${text(record, 'time')}  ${label.padEnd(9)}  ${words}`;
}

type Line = (record: Evidence, subject: string) => readonly [string, string];

const LINES: Readonly<Record<string, Line>> = {
  decided: (record) => [
    text(record, 'effect'),
    `${subjectOf(record)}  ${why(record)}${whose(record)}`,
  ],
  refused: (record) => ['refused', `${text(record, 'entry')}  ${why(record)}${whose(record)}`],
  redecided: (record, subject) => [
    text(record, 'effect'),
    `${subject}  decided again: ${why(record)}`,
  ],
  ended: (record, subject) => ['ended', `${subject}  ${endWords(record)}`],
  refusals: (record) => [
    'refusals',
    `${text(record, 'count')} since ${text(record, 'since')}: ` +
      `${pairs(record, 'codes')}${whose(record)}`,
  ],
  task: (record) => [
    'task',
    `${text(record, 'event')}: ${pairs(record, 'detail')}${whose(record)}`,
  ],
  lifecycle: (record) => [
    'sidecar',
    `${text(record, 'event')} ${pairs(record, 'detail')}`.trimEnd(),
  ],
};

/** Of a later version. */
const unknownLine: Line = (record) => [text(record, 'kind'), JSON.stringify(record)];

function why(record: Evidence): string {
  return `${text(record, 'code')}: ${text(record, 'reason')}`;
}

function whose(record: Evidence): string {
  const parts = ['destination', 'rule', 'agent', 'task', 'stepUp']
    .filter((name) => record[name] !== undefined)
    .map((name) => `${name}=${text(record, name)}`);
  return parts.length === 0 ? '' : `  [${parts.join(' ')}]`;
}

function endWords(record: Evidence): string {
  const status = record['status'] === undefined ? '' : `, status ${text(record, 'status')}`;
  const reason = record['reason'] === undefined ? '' : `: ${text(record, 'reason')}`;
  const bytes = `${text(record, 'sent')} bytes sent, ${text(record, 'received')} received`;
  const peer = record['peer'] === undefined ? '' : `  [peer=${text(record, 'peer')}]`;
  return (
    `${text(record, 'outcome')}${status}, ${text(record, 'durationMs')} ms, ` +
    `${bytes}${reason}${peer}`
  );
}

function pairs(record: Evidence, name: string): string {
  return Object.entries(Object(record[name]))
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(' ');
}

function text(record: Evidence, name: string): string {
  const value = record[name];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
