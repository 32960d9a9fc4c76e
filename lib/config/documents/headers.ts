/** `headers` of a Destination: which fields of a request pass. */
import { Fault } from '../../base/fault.ts';
import {
  foldField,
  kindOf,
  NEVER,
  type FieldNames,
  type HeaderPolicy,
} from '../../policy/model/field-table.ts';
import { quote } from '../../net/host.ts';
import { defaulted, list, optional, record, text } from '../../schema/decode.ts';

/** A token (RFC 9110 section 5.6.2); `*` only behind `-`, at the end. */
const GRAMMAR = /^[a-z0-9!#$%&'+.^_`|~-]{1,64}(?:(?<=-)\*)?$/;

function bad(message: string, hint: string): Fault {
  return new Fault('config', message, { hint });
}

function nameOf(value: string): string {
  const name = value.toLowerCase();
  if (GRAMMAR.test(name)) return name;
  const hint = 'write a name such as x-request-id, or x-acme-* for all that begin so';
  throw bad(`${quote(value)} is not the name of a header field`, hint);
}

const fieldName = text({
  is: 'the name of a header field',
  example: 'x-request-id',
  parse: nameOf,
});

const WHY: Readonly<Partial<Record<ReturnType<typeof kindOf>, string>>> = Object.freeze({
  hop: 'is for one hop',
  rewritten: 'is written anew by the sidecar',
  ours: 'is the name of what the sidecar itself says',
  override: 'asks the upstream for another request than the one that is judged',
});

/** What may pass: what never does is refused here, so that a document does not promise it. */
const passable = text({
  is: 'the name of a header field that may pass',
  example: 'x-user-id',
  parse(value) {
    const name = nameOf(value);
    const kind = kindOf(name.endsWith('-*') ? name.slice(0, -2) : name);
    if (!NEVER.has(kind)) return name;
    throw bad(`${quote(name)} ${WHY[kind] ?? 'never passes'}: it never passes`, 'remove it');
  },
});

const names = { most: 200, unique: String };

export const headers = record({
  pass: defaulted(
    list(passable, names),
    [],
    'Claims that pass to this upstream: fields in which proxies say who asks, for which ' +
      'URL and from where are taken off otherwise. With `only`, these pass too.',
  ),
  strip: defaulted(
    list(fieldName, names),
    [],
    'What is taken off besides, in every spelling; wins over the others.',
  ),
  only: optional(
    list(passable, names),
    'Nothing but these passes, and `pass`, Content-Type and Content-Encoding. Without it: ' +
      'everything but claims and what is for one hop.',
  ),
});

interface Written {
  readonly pass: readonly string[];
  readonly strip: readonly string[];
  readonly only: readonly string[] | undefined;
}

export function compileHeaders(written: Written | undefined): HeaderPolicy | undefined {
  if (written === undefined) return undefined;
  const { pass, strip, only } = written;
  const folded = strip.map((name) =>
    name.endsWith('-*') ? `${foldField(name.slice(0, -1))}*` : foldField(name),
  );
  return Object.freeze({
    pass: namesOf(pass),
    strip: namesOf(folded),
    only: only && namesOf(only),
  });
}

function namesOf(list: readonly string[]): FieldNames {
  const [prefixes, exact] = [
    list.filter((name) => name.endsWith('-*')),
    list.filter((name) => !name.endsWith('-*')),
  ];
  return Object.freeze({
    exact: new Set(exact),
    prefixes: Object.freeze(prefixes.map((name) => name.slice(0, -1))),
  });
}
