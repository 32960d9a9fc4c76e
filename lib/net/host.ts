/**
 * Host names and host patterns.
 *
 * A host of the wire is lower-cased, loses one trailing dot, and is then exactly one of
 *   name     labels of letters, digits, `-` and `_` (1 to 63 octets, no `-` at either end), joined
 *            by dots, 253 octets in all; its last label is neither a number nor `0x…`, which some
 *            resolvers read as an address (WHATWG URL, "ends in a number");
 *   IPv4     a dotted quad in decimal without leading zeros;
 *   IPv6     in brackets, without a zone identifier; kept in RFC 5952 form without the brackets.
 * Everything else is malformed: names beyond ASCII are written as A-labels (`xn--…`).
 *
 * A pattern is such a host, already in this canonical form, or `*.` before a name of at least two
 * labels: it stands for names with one or more labels more, never for the name itself, and only
 * whole labels count (`*.example.com` is not `evilexample.com`).
 */
import { Fault } from '../base/fault.ts';
import { parseIp } from './ip.ts';

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/**
 * What most names look like, in one test: two labels or more, of which the last begins with a
 * letter and so is no number.
 */
const COMMON =
  /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const NUMBER = /^(?:\d+|0x[0-9a-f]*)$/;
const LONGEST = 253;

/**
 * Names below which strangers can register names of their own. A wildcard there would trust them
 * all. This list is short on purpose and is not the Public Suffix List: it stops the common
 * accidents, the operator answers for the rest.
 */
const SHARED: ReadonlySet<string> = new Set(
  (
    'ac.uk co.uk gov.uk org.uk com.au net.au org.au co.jp ne.jp or.jp co.kr co.nz co.za ' +
    'com.br com.cn com.mx com.sg com.tr com.tw co.in ' +
    'amazonaws.com s3.amazonaws.com execute-api.amazonaws.com cloudfront.net ' +
    'elasticbeanstalk.com on.aws azurewebsites.net ' +
    'azureedge.net cloudapp.net cloudapp.azure.com blob.core.windows.net windows.net ' +
    'appspot.com run.app web.app firebaseapp.com ' +
    'cloudfunctions.net googleapis.com googleusercontent.com github.io ' +
    'githubusercontent.com gitlab.io herokuapp.com netlify.app ' +
    'vercel.app pages.dev workers.dev fly.dev onrender.com repl.co glitch.me ngrok.io ' +
    'ngrok-free.app ngrok.app trycloudflare.com ' +
    'loca.lt nip.io sslip.io xip.io localtest.me lvh.me traefik.me duckdns.org dyndns.org ' +
    'blogspot.com'
  ).split(' '),
);

export interface HostPattern {
  /**
   * As written, which is canonical: `crm.internal`, `*.example.com`, `10.0.0.5`, `[2001:db8::1]`.
   */
  readonly text: string;
  readonly kind: 'exact' | 'wildcard' | 'address';
  /** Canonical host; for a wildcard the name behind `*.`; for IPv6 without brackets. */
  readonly host: string;
}

/** The canonical host of a wire text, or a `malformed` Fault that does not quote it. */
export function parseHost(text: string): string {
  if (text.startsWith('[')) return parseBracketed(text);
  if (text.length > LONGEST + 1) throw malformed('is longer than 253 octets');
  const lower = text.toLowerCase();
  if (lower.length <= LONGEST && COMMON.test(lower)) return lower;
  const dotted = lower.endsWith('.');
  const name = dotted ? lower.slice(0, -1) : lower;
  const labels = name.split('.');
  const bad = labels.find((label) => !LABEL.test(label));
  if (bad !== undefined) throw malformed(labelProblem(name, bad));
  if (NUMBER.test(labels.at(-1) ?? '')) {
    if (!dotted && parseIp(name)?.family === 4) return name;
    throw malformed('ends in a number but is not a dotted quad');
  }
  if (name.length > LONGEST) throw malformed('is longer than 253 octets');
  return name;
}

function parseBracketed(text: string): string {
  const ip = text.endsWith(']') && text.length <= 64 ? parseIp(text.slice(1, -1)) : undefined;
  if (ip?.family !== 6) throw malformed('is not an IPv6 address in brackets');
  return ip.text;
}

function labelProblem(name: string, label: string): string {
  if (name === '') return 'is empty';
  if (label === '') return 'has an empty label';
  if (label.length > 63) return 'has a label longer than 63 octets';
  if (/[^\x21-\x7e]/.test(name)) return 'has characters outside printable ASCII';
  if (name.includes('@')) return 'has user information before it';
  if (name.includes(':')) return 'has a colon outside brackets';
  return 'has characters that a host name cannot have';
}

/** Without the text: it may hold user and password. */
function malformed(problem: string): Fault {
  return new Fault('malformed', `the host ${problem}`, {
    hint:
      'send a name of ASCII labels (xn--… for others), a dotted quad or an IPv6 ' +
      'address in brackets',
  });
}

/** Text from outside, safe to show on one line: escaped and cut. */
export function quote(text: string, longest = 80): string {
  const cut = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return JSON.stringify(cut).replace(/[\x7f-\u{10ffff}]/gu, (c) =>
    c === '…' ? c : `\\u{${c.codePointAt(0)?.toString(16)}}`,
  );
}

/** A pattern of a document, or a `bad-pattern` Fault. */
export function parseHostPattern(text: string): HostPattern {
  if (text.startsWith('*')) return parseWildcard(text);
  if (text.includes('*'))
    throw badPattern(
      text,
      'has `*` elsewhere than as its whole left-most label',
      'write *.example.com',
    );
  const host = canonicalOf(text, text);
  const address = parseIp(host) !== undefined;
  return Object.freeze({ text, kind: address ? 'address' : 'exact', host });
}

function parseWildcard(text: string): HostPattern {
  const host = text.slice(2);
  if (!text.startsWith('*.') || host.includes('*')) {
    throw badPattern(
      text,
      'has `*` elsewhere than as its whole left-most label',
      'write *.example.com',
    );
  }
  if (canonicalOf(host, text) !== host || parseIp(host) !== undefined || host.startsWith('[')) {
    throw badPattern(text, 'is a wildcard over an address', 'list the addresses one by one');
  }
  if (!host.includes('.')) {
    throw badPattern(
      text,
      'would cover a whole top-level domain',
      'name at least two labels behind `*.`',
    );
  }
  if (SHARED.has(host)) {
    throw badPattern(
      text,
      `would cover names that strangers can register under ${host}`,
      'name the hosts one by one',
    );
  }
  return Object.freeze({ text, kind: 'wildcard', host });
}

function canonicalOf(host: string, pattern: string): string {
  let canonical: string;
  try {
    canonical = parseHost(host);
  } catch (error) {
    const problem = error instanceof Fault ? error.message : String(error);
    throw new Fault('bad-pattern', `host pattern ${quote(pattern)}: ${problem}`, {
      hint:
        'write a name of ASCII labels (xn--… for others), a dotted quad or an IPv6 address ' +
        'in brackets, without scheme, port or path',
      cause: error,
    });
  }
  const shown = canonical.includes(':') ? `[${canonical}]` : canonical;
  if (shown !== host)
    throw badPattern(pattern, 'is not in canonical form', `write ${pattern.replace(host, shown)}`);
  return canonical;
}

function badPattern(text: string, problem: string, hint: string): Fault {
  return new Fault('bad-pattern', `host pattern ${quote(text)} ${problem}`, { hint });
}

/** Whether a canonical name is one of the domains or below one of them, by whole labels. */
export function isUnder(name: string, domains: readonly string[]): boolean {
  return domains.some((domain) => name === domain || name.endsWith(`.${domain}`));
}
