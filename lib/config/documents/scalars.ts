/**
 * The small grammars of values: durations and sizes carry units, addresses a port, names one
 * alphabet.
 */
import { Fault } from '../../base/fault.ts';
import { quote } from '../../net/host.ts';
import { parsePathPattern } from '../../net/path-pattern.ts';
import { COMMON_METHODS } from '../../policy/protocols/http-rules.ts';
import { text } from '../../schema/decode.ts';
import { hasControl } from '../../schema/file-path.ts';
import type { Schema } from '../../schema/schema.ts';

export function bad(message: string, hint: string): Fault {
  return new Fault('config', message, { hint });
}

const TIMES: Readonly<Record<string, number>> = Object.freeze({
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
});
const SIZES: Readonly<Record<string, number>> = Object.freeze({
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
});

/** Longest duration: a week. Timers and certificates have shorter lives. */
const WEEK = 7 * 24 * 3_600_000;

function amount(value: string, units: Readonly<Record<string, number>>, what: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,9})([A-Za-z]*)$/.exec(value) ?? [];
  const scale = units[unit];
  if (digits === '' || scale === undefined) {
    throw bad(
      `${quote(value)} is not ${what}`,
      `write a whole number and a unit: ${Object.keys(units).join(', ')}`,
    );
  }
  return Number(digits) * scale;
}

/** `5s` as milliseconds; more than none and at most a week. Throws a Fault `config`. */
export function parseDuration(value: string): number {
  const ms = amount(value, TIMES, 'a duration');
  if (ms > 0 && ms <= WEEK) return ms;
  throw bad(`${value} is not a usable duration`, 'write more than 0 and at most 168h');
}

export function duration(example: string): Schema<number> {
  return text({
    is: 'a duration',
    example,
    parse: parseDuration,
    grammar: /^\d{1,9}(?:ms|s|m|h)$/,
  });
}

/** Bytes; from `least` to `most`, 1 TiB where it is not said. */
export function size(example: string, least = 1, most = 1024 ** 4): Schema<number> {
  return text({
    is: 'a size',
    example,
    grammar: /^\d{1,9}(?:B|KiB|MiB|GiB)$/,
    parse(value) {
      const bytes = amount(value, SIZES, 'a size');
      if (bytes >= least && bytes <= most) return bytes;
      const highest = most === 1024 ** 4 ? '1024GiB' : `${most / 1024}KiB`;
      throw bad(
        `${value} is not a usable size`,
        `write at least ${least} bytes and at most ${highest}`,
      );
    },
  });
}

const PERIODS: Readonly<Record<string, number>> = Object.freeze({
  s: 1000,
  m: 60_000,
  h: 3_600_000,
});

/** `50/s`: so many in a second, a minute or an hour. */
export const rate = text({
  is: 'a rate',
  example: '50/s',
  grammar: /^[1-9]\d{0,6}\/[smh]$/,
  parse(value) {
    const [, digits = '', unit = ''] = /^([1-9]\d{0,6})\/([smh])$/.exec(value) ?? [];
    const per = PERIODS[unit];
    if (per !== undefined) return Object.freeze({ count: Number(digits), per, text: value });
    throw bad(
      `${quote(value)} is not a rate`,
      'write a whole number and a period: 50/s, 600/m or 1000/h',
    );
  },
});

export function named(is: string, example: string, grammar: RegExp, hint: string): Schema<string> {
  return text({
    is,
    example,
    grammar,
    parse(value) {
      if (grammar.test(value)) return value;
      throw bad(`${quote(value)} is not ${is}`, hint);
    },
  });
}

const LABEL_HINT = 'use up to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit';

/** Name of a document or rule; stands in records, metrics and messages. */
export const name = named('a name', 'crm', /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, LABEL_HINT);
export const action = named(
  'an action',
  'read',
  /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
  `${LABEL_HINT}: read, write, admin, execute or your own`,
);
/** `none` is what a task has read and written at first. */
export const dataClass = named(
  'a data class',
  'internal',
  /^(?!none$)[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
  `${LABEL_HINT}; none is taken`,
);
export const condition = text({
  is: 'a condition in CEL',
  example: 'request.path != "/"',
  parse(value) {
    if (value.trim() !== '') return value;
    throw bad('the condition is empty', 'write what must hold, or remove the key');
  },
});
export const person = named(
  'a person or a program',
  'alice@example.org',
  /^[!-~]{1,255}$/,
  'write 1 to 255 visible ASCII characters without spaces',
);
export const target = named(
  'the name of a destination, or a host',
  'crm',
  /^[!-~]{1,260}$/,
  'write the name of a Destination document, or host or host:port',
);
/** Words of a person or an agent that stand in records and on terminals. */
export const note = named(
  'a sentence',
  'the customer asked for it',
  /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{1,300}$/u,
  'write up to 300 characters, none of them a control character',
);
export const token = named(
  'a token',
  'q1Zx',
  /^[A-Za-z0-9_-]{1,128}$/,
  'write letters, digits, - and _',
);
export const audience = named(
  'an audience',
  'crm',
  /^[!-~]{1,255}$/,
  'write 1 to 255 visible characters without spaces',
);
export const hint = named(
  'a hint',
  'research',
  /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/,
  'use up to 255 printable ASCII characters',
);
/** Length of `sun_path` on Linux, less its closing NUL. */
export const folder = text({
  is: 'a folder path',
  example: '/run/chaperone/ca',
  parse(value) {
    if (value !== '' && !hasControl(value)) return value;
    throw bad(
      `${quote(value)} is not a folder path`,
      'write a path; a relative one begins at the folder of this document',
    );
  },
});

export const MAX_SOCKET = 107;

export const absoluteFolder = text({
  is: 'the absolute path of a folder',
  example: '/run/chaperone/agents/researcher',
  grammar: /^\/.*[^/]$/,
  parse(value) {
    const plain =
      /^\/.*[^/]$/.test(value) && !hasControl(value) && !/\/\.{0,2}(?:\/|$)/.test(value);
    if (plain) return value;
    throw bad(`${quote(value)} is not a plain absolute path`, 'write /folder/name, without dots');
  },
});

export const socket = text({
  is: 'the absolute path of a Unix socket',
  example: '/run/chaperone/admin/api.sock',
  grammar: /^\/.*[^/]$/,
  parse(value) {
    if (!/^\/.*[^/]$/.test(value) || hasControl(value))
      throw bad(`${quote(value)} is not an absolute path`, 'write /folder/name.sock');
    if (Buffer.byteLength(value) <= MAX_SOCKET) return value;
    throw bad(
      `the path is longer than ${MAX_SOCKET} bytes`,
      'a Unix socket cannot have a longer one: use a shorter folder',
    );
  },
});

/** Longest method, as in lib/http/limits.ts. */
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/;

export const method = text({
  is: 'a method',
  example: 'GET',
  grammar: METHOD,
  parse(value) {
    const upper = value.toUpperCase();
    if (!METHOD.test(value))
      throw bad(`${quote(value)} is not a method`, 'write a token such as GET');
    if (upper === 'CONNECT' || upper === 'TRACE')
      throw bad(`${value} is never sent to an upstream`, 'remove it');
    if (value !== upper && COMMON_METHODS.has(upper))
      throw bad(`${value} is not ${upper}: methods are case-sensitive`, `write ${upper}`);
    return value;
  },
});

export const pathPattern = text({
  is: 'a path pattern',
  example: '/v1/customers/**',
  grammar: /^\//,
  parse: parsePathPattern,
});
