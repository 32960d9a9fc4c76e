/**
 * Log lines for people and machines, not evidence: one JSON object a line, `{time, level,
 * component, msg, …}`, time in RFC 3339, level in words. Only what is handed in as plain fields is
 * written; nothing serialises requests, keys or tokens. Text from outside may be in a message: no
 * control character of it ever reaches the line or the terminal unescaped.
 */
import { type DestinationStream, type Logger as Pino, pino, stdTimeFunctions } from 'pino';
import { escapeMarks } from '../audit/encode.ts';

export type Level = 'debug' | 'info' | 'warn' | 'error';
type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  log(level: Level, component: string, msg: string, fields?: LogFields): void;
}

export function logger(level: Level, out: DestinationStream): Logger {
  const lines: Pino = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line) => out.write(escapeMarks(line)) },
  );
  return { log: (at, component, msg, fields = {}) => lines[at]({ component, ...fields }, msg) };
}

const PAINT: Readonly<Record<Level, number>> = { debug: 2, info: 36, warn: 33, error: 31 };

/** The same lines for a terminal: `HH:MM:SS level component: msg key=value`. */
export function terminalStream(write: (line: string) => void, colour: boolean): DestinationStream {
  return {
    write(line) {
      const { time, level, component, msg, ...rest } = JSON.parse(line) as Readonly<
        Record<string, unknown>
      >;
      const label = String(level).padEnd(5);
      const shown = colour ? `\u001b[${PAINT[level as Level]}m${label}\u001b[0m` : label;
      const fields = Object.entries(rest).map(
        ([name, value]) => ` ${name}=${escapeMarks(JSON.stringify(value))}`,
      );
      write(
        `${String(time).slice(11, 19)} ${shown} ${String(component)}: ` +
          `${unquoted(msg)}${fields.join('')}\n`,
      );
    },
  };
}

/** A text as JSON escapes it, but without the quotes and with its own as they are. */
function unquoted(text: unknown): string {
  return escapeMarks(JSON.stringify(String(text)).slice(1, -1)).replaceAll('\\"', '"');
}
