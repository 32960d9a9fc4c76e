/** `chaperone audit`: the evidence for people, filtered, and as it is written. */
import { setTimeout as pause } from 'node:timers/promises';
import { Fault } from '../../lib/base/fault.ts';
import { escapeMarks } from '../../lib/audit/encode.ts';
import { evidenceOf, GrowingFile } from '../audit-files.ts';
import type { Io } from '../io.ts';
import { onOneLine } from '../table.ts';
import { recordLine, selection, type Evidence, type Wanted } from './audit-lines.ts';

export interface AuditOptions extends Wanted {
  readonly config: readonly string[];
  readonly file?: readonly string[];
  readonly follow?: boolean;
  readonly lines?: string;
  readonly json?: boolean;
}

const LOOK_EVERY_MS = 200;
/** With --follow, where no number is given, as tail does. */
const TAIL = 10;

export async function audit(options: AuditOptions, io: Io): Promise<void> {
  const { file, config, follow, json } = options;
  const last = lastOf(options);
  const names = file ?? (await evidenceOf(config));
  await using stack = new AsyncDisposableStack();
  const files = names.map((name) => stack.use(new GrowingFile(name)));
  const select = selection(options);
  const print = (line: string): void => {
    const shown = shownLine(line, select, json === true);
    if (shown !== undefined) io.out(shown);
  };
  const kept: string[] = [];
  for (const one of files) {
    for await (const line of one.lines()) {
      if (last === undefined) {
        print(line);
        continue;
      }
      const shown = shownLine(line, select, json === true);
      if (shown !== undefined) kept.push(shown);
      if (kept.length > 2 * last + 1) kept.splice(0, kept.length - last);
    }
  }
  for (const line of last === 0 ? [] : kept.slice(-(last ?? 0))) io.out(line);
  if (follow === true) await followed(files, print);
}

async function followed(
  files: readonly GrowingFile[],
  print: (line: string) => void,
): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  while (!stop.signal.aborted) {
    for (const one of files) for await (const line of one.lines()) print(line);
    await pause(LOOK_EVERY_MS, undefined, { signal: stop.signal }).catch(() => {});
  }
}

function lastOf({ lines, follow }: AuditOptions): number | undefined {
  if (lines === undefined) return follow === true ? TAIL : undefined;
  if (/^\d{1,9}$/.test(lines)) return Number(lines);
  throw new Fault('usage', `--lines ${lines} is not a number`, {
    hint: 'write one such as --lines 20',
  });
}

/** undefined for what is not wanted, or is no record: a line that was cut off says nothing. */
function shownLine(
  line: string,
  select: (record: Evidence) => string | undefined,
  json: boolean,
): string | undefined {
  const record = recordOf(line);
  if (record === undefined) return undefined;
  const subject = select(record);
  if (subject === undefined) return undefined;
  return json ? escapeMarks(line) : onOneLine(recordLine(record, subject));
}

function recordOf(line: string): Evidence | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'kind' in value
      ? { ...value }
      : undefined;
  } catch {
    return undefined;
  }
}
