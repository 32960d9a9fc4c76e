/** Conversions of CEL that are exact or have no answer: int() and double(). */
import type { Environment } from '@marcbachmann/cel-js';
import { exactDouble } from './plain.ts';
import { noAnswer } from './scope.ts';

/** The largest double below 2^63, and its opposite. */
const MAX_INT = 9_223_372_036_854_774_784;

const MAX_DIGITS = 20;

interface Conversion {
  readonly name: string;
  readonly returnType: string;
}

type Takes = (type: string, handler: (value: never) => unknown) => void;

function conversion(env: Environment, { name, returnType }: Conversion): Takes {
  return (type, handler) =>
    void env.registerFunction({
      name: INSTEAD[name] ?? name,
      returnType,
      handler,
      params: [{ name: 'value', type }],
      async: false,
    });
}

/** The library's takes doubles that no int can hold. */
export function toInt(env: Environment): void {
  const takes = conversion(env, { name: 'int', returnType: 'int' });
  takes('int', (value: bigint) => value);
  takes('double', (value: number) => {
    if (!(Math.abs(value) <= MAX_INT)) throw noAnswer('numeric_overflow');
    return BigInt(Math.trunc(value));
  });
  takes('string', (value: string) => {
    if (value.length > MAX_DIGITS || !/^[+-]?\d+$/.test(value))
      throw noAnswer('int_conversion_error');
    const whole = BigInt(value.replace(/^\+/, ''));
    if (BigInt.asIntN(64, whole) !== whole) throw noAnswer('int_conversion_error');
    return whole;
  });
  takes('google.protobuf.Timestamp', (value: Date) => BigInt(Math.floor(value.getTime() / 1000)));
}

const BOOLS: ReadonlyMap<string, boolean> = new Map(
  ['1 t true TRUE True', '0 f false FALSE False'].flatMap((words, i) =>
    words.split(' ').map((word) => [word, i === 0]),
  ),
);

/**
 * The library's takes hexadecimal and numbers that are none, and rounds; and it quotes what is no
 * bool.
 */
export function toDouble(env: Environment): void {
  const takes = conversion(env, { name: 'double', returnType: 'double' });
  const exact = (text: string): number => {
    const double = exactDouble(text);
    if (double === undefined) throw noAnswer('double_conversion_error');
    return double;
  };
  takes('double', (value: number) => value);
  takes('int', (value: bigint) => exact(value.toString()));
  takes('string', exact);
  const takesBool = conversion(env, { name: 'bool', returnType: 'bool' });
  takesBool('bool', (value: boolean) => value);
  takesBool('string', (value: string) => {
    const known = BOOLS.get(value);
    if (known === undefined) throw noAnswer('bool_conversion_error');
    return known;
  });
}

export interface Evaluator {
  run(node: unknown, context: unknown): unknown;
}

/**
 * What stands in for functions of the library; blanks keep expressions from writing these names.
 */
export const INSTEAD: Readonly<Record<string, string>> = Object.freeze({
  matches: 're2 matches',
  contains: 'bounded contains',
  lowerAscii: 'ascii lower',
  int: 'whole int',
  double: 'exact double',
  bool: 'plain bool',
  size: 'character size',
});
