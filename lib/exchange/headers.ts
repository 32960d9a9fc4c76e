/**
 * Fields that cross the proxy: the table of lib/policy/model/field-table.ts, applied to every
 * request and response of every entry point. What it leaves of a request is one list: the fields
 * that are judged, and the fields that are sent. No field of the agent's changes what is enforced.
 */
import { Fault } from '../base/fault.ts';
import type { Fields } from '../http/message.ts';
import {
  foldField,
  HOP_BY_HOP,
  verdictOf,
  type HeaderPolicy,
  type Verdict,
} from '../policy/model/field-table.ts';

/** Names that Connection may not take away: they carry who asks, what for, or what we add. */
const KEPT =
  /^(host|authorization|cookie|via|origin|content-.*|chaperone-.*|x-spiffe-.*|x-task-.*|transfer-encoding|expect)$/;

/**
 * Verdicts kept for each destination with settings of its own, and for all of these: names are the
 * agent's.
 */
const MAX_NAMES = 1024;
const MAX_HELD = 16_384;
/** Characters; verdicts over longer names are given anew. */
const MAX_NAME = 64;

export interface FieldRules {
  /** Our line of Via, to be sent behind all others (RFC 9110 section 7.6.3). */
  readonly via: string;
  /**
   * The fields that are judged and sent, without Host and our Via; throws a Fault for what must not
   * be guessed at.
   */
  request(fields: Fields, headers?: HeaderPolicy): string[];
  /** The fields to send to the agent. */
  response(fields: Fields): string[];
}

const CREDENTIALS = 'proxy-authorization';

/** Proxy-Authorization, as it came; two of them name nobody. @throws Fault `ambiguous` */
export function credentialsOf(fields: Fields): string | undefined {
  let found: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== CREDENTIALS) continue;
    if (found !== undefined) throw repeated(CREDENTIALS);
    found = fields[i + 1] ?? '';
  }
  return found;
}

export interface FieldRulesOptions {
  /** Our name in Via: random for each process, so that a request that comes back is known. */
  readonly pseudonym: string;
}

export function fieldRules({ pseudonym }: FieldRulesOptions): FieldRules {
  const usual = verdicts(undefined, { names: 0 });
  let special = new WeakMap<HeaderPolicy, (name: string) => Verdict>();
  let held = { names: 0 };
  const via = `1.1 ${pseudonym}`;
  const verdictsOf = (headers: HeaderPolicy): ((name: string) => Verdict) => {
    if (held.names > MAX_HELD) [special, held] = [new WeakMap(), { names: 0 }];
    let known = special.get(headers);
    if (known === undefined) special.set(headers, (known = verdicts(headers, held)));
    return known;
  };
  return {
    via,
    request(fields, headers) {
      const verdict = headers === undefined ? usual : verdictsOf(headers);
      const dropped = nominations(fields);
      const kept: string[] = [];
      let singles: string[] | undefined;
      for (let i = 0; i < fields.length; i += 2) {
        const name = fields[i] ?? '';
        const value = fields[i + 1] ?? '';
        const is = verdict(name);
        if (is === 'refuse') throw overriding(name);
        if (is === 'single') {
          if (singles?.includes(name) === true) throw repeated(name);
          (singles ??= []).push(name);
        }
        if (is === 'strip' || dropped?.has(name) === true) continue;
        if (name === 'via' && value.includes(pseudonym)) throw looped();
        kept.push(name, value);
      }
      return kept;
    },
    response(fields) {
      const dropped = nominations(fields, true);
      const kept: string[] = [];
      for (let i = 0; i < fields.length; i += 2) {
        const name = fields[i] ?? '';
        if (
          RESPONSE_STRIP.has(name) ||
          name.startsWith('chaperone-') ||
          dropped?.has(name) === true
        )
          continue;
        kept.push(name, fields[i + 1] ?? '');
      }
      kept.push('via', via);
      return kept;
    },
  };
}

const RESPONSE_STRIP: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'content-length',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'alt-svc',
]);

/** Verdicts that were given are kept: names repeat. */
function verdicts(
  headers: HeaderPolicy | undefined,
  held: { names: number },
): (name: string) => Verdict {
  const known = new Map<string, Verdict>();
  return (name) => {
    const before = known.get(name);
    if (before !== undefined) return before;
    const verdict = verdictOf(name, headers);
    if (name.length > MAX_NAME) return verdict;
    if (known.size >= MAX_NAMES) known.clear();
    held.names += 1;
    known.set(name, verdict);
    return verdict;
  };
}

/**
 * Names that Connection takes away besides the ones that never pass (RFC 9110 section 7.6.1). A
 * request that nominates what is not for one hop is refused; in an answer such a nomination does
 * nothing.
 */
function nominations(fields: Fields, answer = false): ReadonlySet<string> | undefined {
  let found: Set<string> | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'connection') continue;
    const value = fields[i + 1] ?? '';
    if (value === 'keep-alive' || value === 'close') continue;
    for (const token of value.toLowerCase().split(',')) {
      const name = token.trim();
      if (!KEPT.test(foldField(name))) (found ??= new Set()).add(name);
      else if (!answer) throw nominated();
    }
  }
  return found;
}

function nominated(): Fault {
  const hint = 'Connection may name hop-by-hop fields only';
  return new Fault('malformed', 'Connection names a field that is not for one hop', {
    hint,
    at: 'connection',
  });
}

function overriding(name: string): Fault {
  const hint = 'send the method and the path that are meant: they are what is judged';
  return new Fault('ambiguous', `${name} asks for another request than the one that is judged`, {
    hint,
    at: name,
  });
}

function repeated(name: string): Fault {
  return new Fault('ambiguous', `${name} appears more than once`, {
    hint: 'send it once',
    at: name,
  });
}

function looped(): Fault {
  const hint =
    'an upstream sends requests back to this proxy: look at the upstream address and at ' +
    'proxy settings of the upstream';
  return new Fault('loop', 'this request has been through this proxy before', { hint, at: 'via' });
}
