/**
 * The small grammars of values: durations and sizes carry units, addresses a port, names one
 * alphabet.
 */
import { Fault } from '../../base/fault.ts';
import { judgeRange } from '../../net/addresses.ts';
import { formatAuthority, parseAuthority } from '../../net/authority.ts';
import { parseHostPattern, quote } from '../../net/host.ts';
import { parseIp, parseRange } from '../../net/ip.ts';
import type { ListenAddress } from '../../policy/model/destination.ts';
import { parsePathPattern } from '../../net/path-pattern.ts';
import { COMMON_METHODS } from '../../policy/protocols/http-rules.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { parsePeerPattern } from '../../spiffe/pattern.ts';
import { text, type Schema } from '../../schema/decode.ts';
import { hasControl } from '../../schema/file-path.ts';

function bad(message: string, hint: string): Fault {
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

function named(is: string, example: string, grammar: RegExp, hint: string): Schema<string> {
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
export const workloadApi = named(
  'a Workload API address',
  'unix:///run/spire/agent-sockets/api.sock',
  /^(?:unix:(?:\/\/)?\/[^/\s?#][^\s?#]*|tcp:\/\/[^\s/?#]+:\d+)$/,
  'write unix:///absolute/path or tcp://ip:port',
);

export const webhookUrl = text({
  is: 'a URL',
  example: 'https://approvals.example.org/chaperone',
  parse(value) {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const loopback = url !== undefined && /^(?:127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
    const safe = url?.protocol === 'https:' || (url?.protocol === 'http:' && loopback);
    if (url !== undefined && safe && url.username === '' && url.password === '' && url.hash === '')
      return url.href;
    throw bad(
      `${quote(value)} is not a URL that may be asked`,
      'write https://host/path, without user and password; http:// to 127.0.0.1 or [::1] alone',
    );
  },
});

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

/** An IP address and a port to listen on; port 0 takes a free one. */
export const listenAddress: Schema<ListenAddress> = text({
  is: 'an address to listen on',
  example: '127.0.0.1:15001',
  grammar: /^[^/]+:\d{1,5}$/,
  parse(value) {
    const free = value.endsWith(':0');
    const { host, port } = withHint(value, () =>
      parseAuthority(free ? `${value.slice(0, -1)}1` : value, undefined),
    );
    if (parseIp(host) === undefined)
      throw bad(`${quote(host)} is a name`, 'write an IP address, such as 127.0.0.1 or [::1]');
    return Object.freeze({ host, port: free ? 0 : port });
  },
});

/** Name or IP address, and port, of an upstream. */
export const upstreamAddress: Schema<ListenAddress> = text({
  is: 'a host and a port',
  example: 'crm.prod.svc:8443',
  grammar: /^[^/]+:\d{1,5}$/,
  parse: (value) => Object.freeze(withHint(value, () => parseAuthority(value, undefined))),
});

/** A Host as it is sent: a host, and a port where it is written. */
export const upstreamHost = text({
  is: 'a host, with or without a port',
  example: 'localhost:3000',
  grammar: /^[^/]+$/,
  parse(value) {
    const { host, port } = withHint(value, () => parseAuthority(value, NO_PORT));
    return formatAuthority(host, port, NO_PORT);
  },
});

/** No port can be 0: it stands for one that is not written. */
const NO_PORT = 0;

function withHint<T>(value: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { message } = Fault.from(error, 'config');
    const written = message.includes(quote(value)) ? message : `${quote(value)}: ${message}`;
    throw bad(written, 'write host:port, without scheme or path; IPv6 in brackets');
  }
}

/** A range in canonical text. */
export const cidr = text({
  is: 'a range of private addresses',
  example: '10.96.0.0/12',
  grammar: /\/\d{1,3}$/,
  parse(value) {
    const problem = judgeRange(value);
    const range = parseRange(value);
    if (problem === undefined && range !== undefined) return range.text;
    throw bad(
      `${quote(value)} ${problem}`,
      'write part of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7',
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

/**
 * A DNS name that stands for itself and all below it; wide ones are refused for the reason that
 * wildcards over them are.
 */
export const dnsDomain = text({
  is: 'a DNS name',
  example: 'example.com',
  parse(value) {
    if (value.startsWith('*'))
      throw bad(`${quote(value)} has a wildcard`, 'leave `*.` out: a domain covers all below it');
    return parseHostPattern(`*.${value}`).host;
  },
});

export const hostPattern = text({
  is: 'a host pattern',
  example: 'crm.internal or *.example.com',
  parse: parseHostPattern,
});
export const pathPattern = text({
  is: 'a path pattern',
  example: '/v1/customers/**',
  grammar: /^\//,
  parse: parsePathPattern,
});
export const peer = text({
  is: 'a SPIFFE ID or a pattern of them',
  example: 'spiffe://example.org/ns/crm/sa/api',
  grammar: /^spiffe:\/\/[^/]/,
  parse: parsePeerPattern,
});
export const spiffeId = text({
  is: 'a SPIFFE ID',
  example: 'spiffe://example.org/ns/agents/sa/research',
  grammar: /^spiffe:\/\/[^/]/,
  parse: parseSpiffeId,
});

/** A DNS name that a certificate is verified against. */
export const serverName = text({
  is: 'a DNS name',
  example: 'api.example.com',
  parse(value) {
    const { kind, host } = withHint(value, () => parseHostPattern(value));
    if (kind === 'exact') return host;
    throw bad(
      `${quote(value)} is not a DNS name`,
      'write the name that the certificate of the upstream holds',
    );
  },
});
