/** JSON as conditions see it: plain data, whose numbers are doubles that say what was written. */
import { isObject, type Json, JsonNumber } from '../../schema/json.ts';

export type Plain = null | boolean | string | number | InexactNumber | readonly Plain[] | PlainMap;

/** What CEL calls a map. */
export type PlainMap = { readonly [name: string]: Plain } | ReadonlyMap<string, Plain>;

/** A number that is not what any double says of itself: nothing may be decided by it. */
export class InexactNumber {}

const INEXACT = Object.freeze(new InexactNumber());

/**
 * Objects without a prototype; a Map where a member is called `constructor`, by which the CEL
 * library would tell the type of an object.
 */
export function plainJson(value: Json): Plain {
  if (value instanceof JsonNumber) return exactDouble(value.text) ?? INEXACT;
  if (isObject(value)) {
    if (value.has('constructor'))
      return new Map(Array.from(value, ([name, member]) => [name, plainJson(member)]));
    const result: Record<string, Plain> = Object.create(null) as Record<string, Plain>;
    for (const [name, member] of value) result[name] = plainJson(member);
    return result;
  }
  return Array.isArray(value) ? value.map(plainJson) : (value as null | boolean | string);
}

/** Data, as opposed to one of the views that conditions read. */
export function isPlainMap(value: unknown): value is PlainMap {
  if (typeof value !== 'object' || value === null) return false;
  if (value instanceof Map) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

export function namesOf(map: PlainMap): readonly string[] {
  return isMap(map) ? Array.from(map.keys()) : Object.keys(map);
}

/** undefined where there is none. */
export function memberOf(map: PlainMap, name: string): Plain | undefined {
  if (isMap(map)) return map.get(name);
  return Object.hasOwn(map, name) ? map[name] : undefined;
}

function isMap(map: PlainMap): map is ReadonlyMap<string, Plain> {
  return map instanceof Map;
}

/**
 * A sign, digits with one point among or beside them, an exponent; no other spelling of a number.
 */
const DECIMAL = /^([+-]?)(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,5}))?$/;
const LONGEST = 128;
/** A double keeps 15 digits, whichever they are. */
const SHORT = /^-?(?:\d{1,15}|(?=[\d.]{3,16}$)\d+\.\d+)$/;

const WHOLE = /^[+-]?\d+$/;

/**
 * The double that a decimal text means, so that whoever reads the text as a decimal or an integer
 * and whoever reads it as a double have one number: a whole number is that double; any other has
 * the digits and the point of the shortest text of that double (ECMAScript). undefined where there
 * is none.
 */
export function exactDouble(text: string): number | undefined {
  if (text.length > LONGEST) return undefined;
  if (SHORT.test(text)) return Number(text);
  const double = Number(text);
  if (WHOLE.test(text))
    return BigInt(double) === BigInt(text.replace('+', '')) ? double : undefined;
  const written = decimal(text);
  if (written === undefined || !Number.isFinite(double)) return undefined;
  const shortest = decimal(String(double));
  return shortest?.digits === written.digits && shortest.point === written.point
    ? double
    : undefined;
}

interface Decimal {
  /** Sign and significant digits; '0' for zero, whose sign is no matter. */
  readonly digits: string;
  /** How many digits stand before the point. */
  readonly point: number;
}

function decimal(text: string): Decimal | undefined {
  const [, sign = '', mantissa, exponent = '0'] = DECIMAL.exec(text) ?? [];
  if (mantissa === undefined) return undefined;
  const [whole = '', fraction = ''] = mantissa.split('.');
  const all = whole + fraction;
  const significant = all.replace(/^0+/, '');
  if (significant === '') return { digits: '0', point: 0 };
  const point = whole.length - (all.length - significant.length) + Number(exponent);
  return { digits: (sign === '-' ? '-' : '') + significant.replace(/0+$/, ''), point };
}
