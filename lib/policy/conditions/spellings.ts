/**
 * Other spellings of the names that conditions read. Servers differ over `x_a` and `x-a`, `limit`
 * and `limit[]`, `amount` and `Amount`: a name that some server may take for one that a condition
 * of the destination reads, and is not that name, is refused with the name to send. All other names
 * are left alone, and so is every value.
 */
import { Fault } from '../../base/fault.ts';
import type { Fields } from '../../http/message.ts';
import { quote } from '../../net/host.ts';
import { type Json, type JsonObject, isObject } from '../../schema/json.ts';
import type { ArgsRead, NamesRead, Reads, Spellings } from '../model/condition.ts';
import { foldField } from '../model/field-table.ts';
import { foldsOf, parameterFoldsOf, parameterName } from './name-folds.ts';
import { CONDITION_LIMITS } from './variables.ts';

/** Of all conditions of a destination; undefined where they read no names. */
export function spellingsOf(
  name: string,
  conditions: readonly { readonly reads: Reads }[],
): Spellings | undefined {
  const reads = conditions.map((one) => one.reads);
  const fields = meaningOf(
    reads.map((one) => one.fields),
    { folds: (field) => [foldField(field)], tidy: /^[a-z0-9-]*$/ },
  );
  const params = meaningOf(
    reads.map((one) => one.params),
    { folds: parameterFoldsOf, tidy: TIDY },
  );
  const args = keysOf(
    reads.map((one) => one.args),
    reads.map((one) => one.keys),
  );
  if (fields === undefined && params === undefined && args === undefined) return undefined;
  return Object.freeze({
    fields(lines: Fields) {
      if (fields === undefined) return;
      for (let i = 0; i < lines.length; i += 2)
        refuse('a header field', fields(lines[i] ?? ''), name);
    },
    params(query: string) {
      if (params === undefined || query.length < 2) return;
      for (const part of query.slice(1).split(/[&;]/))
        if (part !== '') refuse('a parameter', params(parameterName(part)), name);
    },
    args(given: JsonObject) {
      if (args !== undefined) look(given, args, { left: CONDITION_LIMITS.values, of: name });
    },
  });
}

/**
 * What a name is taken for by some server: the name that is read, or '' where it is only known that
 * some may read another; undefined: itself alone.
 */
type Meaning = (name: string) => string | undefined;

interface Folding {
  readonly folds: (name: string) => readonly string[];
  /** What names are where any may decide. */
  readonly tidy: RegExp;
}

/** No blanks at its ends, no characters that are not seen. */
const TIDY = /^(?!\s)[^\p{C}\p{Default_Ignorable_Code_Point}]*(?<!\s)$/u;
/** Of a name in arguments, in characters: what is longer is no name that anybody reads. */
const MAX_KEY = 256;

function meaningOf(all: readonly NamesRead[], { folds, tidy }: Folding): Meaning | undefined {
  const exact = new Set(all.flatMap((one) => [...one.exact]));
  const parts = Array.from(new Set(all.flatMap((one) => [...one.parts])), (part) => ({
    part,
    fold: folds(part)[0],
  }));
  if (exact.size === 0 && parts.length === 0) return undefined;
  const loose = all.some((one) => one.loose && one.exact.size + one.parts.size > 0);
  const folded = new Map(
    [...exact].flatMap((one) => folds(one).map((fold) => [fold, one] as const)),
  );
  return (name) => {
    if (exact.has(name)) return undefined;
    const spelt = folds(name);
    for (const fold of spelt) if (folded.has(fold)) return folded.get(fold);
    const hidden = parts.find(
      ({ part, fold = part }) => !name.includes(part) && spelt.some((one) => one.includes(fold)),
    );
    if (hidden !== undefined) return hidden.part;
    return loose && !tidy.test(name) ? '' : undefined;
  };
}

/** The arguments that conditions read, at one place in them. */
interface Keys {
  readonly meaning: Meaning | undefined;
  readonly names: ReadonlyMap<string, Keys>;
  readonly each: Keys | undefined;
}

function keysOf(trees: readonly ArgsRead[], loose: readonly NamesRead[]): Keys | undefined {
  const names = Map.groupBy(
    trees.flatMap((tree) => [...tree.names]),
    ([name]) => name,
  );
  const each = trees.flatMap((tree) => tree.each ?? []);
  const written: NamesRead = { exact: new Set(names.keys()), parts: new Set(), loose: false };
  const anyKey = trees.some((tree) => tree.loose) ? loose : [];
  if (names.size === 0 && each.length === 0 && anyKey.length === 0) return undefined;
  const below = Array.from(
    names,
    ([name, ones]) =>
      [
        name,
        keysOf(
          ones.map(([, one]) => one),
          loose,
        ),
      ] as const,
  );
  return {
    meaning: meaningOf([written, ...anyKey], { folds: foldsOf, tidy: TIDY }),
    names: new Map(
      below.flatMap(([name, keys]) => (keys === undefined ? [] : [[name, keys] as const])),
    ),
    each: each.length === 0 ? undefined : keysOf(each, loose),
  };
}

/** `left`: names that may still be looked at; where there are more, conditions have no answer. */
function look(value: Json, keys: Keys, at: { left: number; readonly of: string }): void {
  if (Array.isArray(value)) {
    if (keys.each !== undefined)
      for (const one of value as readonly Json[]) look(one, keys.each, at);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, member] of value) {
    if ((at.left -= 1) < 0) return;
    refuse('an argument', key.length > MAX_KEY ? '' : keys.meaning?.(key), at.of);
    const below = keys.names.get(key);
    if (below !== undefined) look(member, below, at);
  }
}

function refuse(what: string, meant: string | undefined, destination: string): void {
  if (meant === undefined) return;
  if (meant === '') {
    const reason =
      `the name of ${what} may be read as another, and conditions of destination ` +
      `${destination} decide by such names`;
    throw new Fault('ambiguous', reason, {
      hint: 'send names in lower case, with - and without blanks',
    });
  }
  const reason =
    `${what} may be read as ${quote(meant)}, which a condition of destination ` +
    `${destination} reads`;
  throw new Fault('ambiguous', reason, {
    hint: `send it as ${quote(meant)}, or under a name that is not like it`,
  });
}
