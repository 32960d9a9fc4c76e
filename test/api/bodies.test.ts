/**
 * What a body may cost before anybody is known to be allowed anything: CPU time, as others share
 * the machine.
 */
import t from 'tap';
import { MAX_BODY, decodeBody } from '../../lib/api/api.ts';
import { approval, extension, question, refusal, revocation } from '../../lib/api/task-bodies.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { Schema } from '../../lib/schema/schema.ts';
import { intentSchema } from '../../lib/tasks/intent.ts';

const filled = (open: string, member: (i: number) => string, close: string): string => {
  let text = open;
  for (let i = 0; text.length < MAX_BODY - 64; i += 1) text += `${i === 0 ? '' : ','}${member(i)}`;
  return text + close;
};

const SHAPES: Readonly<Record<string, string>> = {
  'open brackets': '['.repeat(65_000),
  'open braces': '{"a":'.repeat(13_000),
  'a flow mapping without end': '{a: '.repeat(16_000),
  'empty lists': filled('[', () => '[]', ']'),
  numbers: filled('[', () => '0', ']'),
  'unknown keys': filled('{', (i) => `"k${i}":0`, '}'),
  'keys that are nearly known': filled('{', (i) => `"purpos${i}":0`, '}'),
  'keys in capitals': filled('{', (i) => `"K${i}":0`, '}'),
  'keys of Kelvin signs': filled('{', (i) => `"\u212a${i}":0`, '}'),
  'targets beyond number': `{"purpose":"a","owner":"b","actions":["read"],${filled('"targets":[', () => '"?"', ']')}}`,
  'targets that are one': `{"purpose":"a","owner":"b","actions":["read"],${filled('"targets":[', () => '"c"', ']')}}`,
  'targets with dots':
    `{"purpose":"a","owner":"b","actions":["read"],` +
    `${filled('"targets":[', () => `"${'a.'.repeat(126)}"`, ']')}}`,
  'a long purpose': `{"purpose":"${'a'.repeat(64_000)}"}`,
  'a long reason': `{"by":"olga","action":"write","reason":"${'\\u00e9'.repeat(10_000)}"}`,
  'escapes without end': `"${'\\\\'.repeat(32_000)}`,
  'a long number': '1'.repeat(65_000),
  'line ends': '\n'.repeat(65_000),
  anchors: `${'&a '.repeat(20_000)}x`,
  'comments of YAML': '# \n'.repeat(20_000),
};

const SCHEMAS: readonly Schema<unknown>[] = [
  intentSchema,
  extension,
  question,
  approval,
  refusal,
  revocation,
];

t.test('no shape of a body costs an API more than a few milliseconds', async (t) => {
  for (const [name, text] of Object.entries(SHAPES)) {
    for (const schema of SCHEMAS) {
      const before = process.cpuUsage();
      try {
        decodeBody(schema, text);
      } catch (failure) {
        t.ok(failure instanceof Fault, name);
      }
      const { user, system } = process.cpuUsage(before);
      t.ok((user + system) / 1000 < 250, `${name}: ${(user + system) / 1000} ms`);
    }
  }
});
