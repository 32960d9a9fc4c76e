/** PolicyTest documents: cases beside the policy, read by `chaperone test` and by nothing else. */
import { Fault } from '../../base/fault.ts';
import {
  choice,
  defaulted,
  integer,
  list,
  optional,
  record,
  required,
  text,
} from '../../schema/decode.ts';
import type { Infer, Schema } from '../../schema/schema.ts';
import type { Tree } from '../../schema/tree.ts';
import { spiffeId } from './addresses.ts';
import { name } from './scalars.ts';
import { API_VERSION, metadata } from './schema.ts';

/** Any value, as JSON text; numbers as they are written. */
function json(example: string): Schema<string> {
  return {
    shape: { kind: 'any', example },
    read: (tree) => ({ value: jsonText(tree) }),
  };
}

function jsonText(tree: Tree): string {
  if (tree.kind === 'list') return `[${tree.items.map(jsonText).join(',')}]`;
  if (tree.kind === 'map') {
    const members = Array.from(
      tree.entries.values(),
      ({ key, value }) => `${JSON.stringify(key)}:${jsonText(value)}`,
    );
    return `{${members.join(',')}}`;
  }
  const { value, plain } = tree;
  const written =
    typeof value === 'number' && plain !== undefined && /^-?\d+(?:\.\d+)?$/.test(plain);
  return written ? plain : JSON.stringify(value);
}

const sentence = text({
  is: 'a sentence',
  example: 'customers can be read',
  parse(value) {
    if (/^[^\p{Cc}]{1,200}$/u.test(value)) return value;
    throw new Fault('config', 'a name is 1 to 200 characters in one line', { hint: 'shorten it' });
  },
});

const asked = text({
  is: 'a request',
  example: 'GET http://crm.internal/v1/customers/7',
  parse(value) {
    const [, method, target] = /^(\S+) (\S+)$/.exec(value) ?? [];
    if (method !== undefined && target !== undefined) return Object.freeze({ method, target });
    throw new Fault('config', 'a request is a method, a blank and a target', {
      hint: 'write GET http://host/path, or CONNECT host:port',
    });
  },
});

const field = text({
  is: 'a header field',
  example: 'X-Tenant: blue',
  parse(value) {
    if (/^[^\s:]+: .*$/.test(value)) return value;
    throw new Fault('config', 'a header field is a name, a colon, a blank and a value', {
      hint: "write 'name: value'",
    });
  },
});

const time = text({
  is: 'a time',
  example: '2026-01-31T12:00:00Z',
  parse(value) {
    const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?Z$/.test(value)
      ? Date.parse(value)
      : NaN;
    if (!Number.isNaN(at)) return at;
    throw new Fault('config', 'a time is in UTC, in RFC 3339', {
      hint: 'write 2026-01-31T12:00:00Z',
    });
  },
});

const word = text({
  is: 'a word',
  example: 'read',
  parse(value) {
    if (/^[\x21-\x7e]{1,128}$/.test(value)) return value;
    throw new Fault('config', 'a word is 1 to 128 visible characters', { hint: 'shorten it' });
  },
});

const classOrNone = text({
  is: 'a data class, or none',
  example: 'confidential',
  parse(value) {
    if (/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(value)) return value;
    throw new Fault('config', `${JSON.stringify(value.slice(0, 64))} is no data class`, {
      hint: 'write one of dataClasses, or none',
    });
  },
});

const task = record({
  id: defaulted(word, 'task', 'Its id.'),
  purpose: defaulted(sentence, 'test', 'What it was opened for.'),
  read: defaulted(classOrNone, 'none', 'The highest data class that was read so far.'),
  wrote: defaulted(classOrNone, 'none', 'The highest data class that was written so far.'),
  actions: defaulted(list(word, { most: 1000 }), [], 'Actions so far.'),
  destinations: defaulted(list(word, { most: 1000 }), [], 'Destinations so far.'),
  uses: defaulted(integer(0, 1_000_000_000), 0, 'Allowed exchanges so far.'),
  depth: defaulted(integer(0, 8), 0, 'How deep it is derived; 0 is not at all.'),
  elevated: defaulted(list(word, { most: 64 }), [], 'Actions for which a step-up was approved.'),
});

const facts = {
  identity: optional(spiffeId, 'Our own SPIFFE ID; none otherwise.'),
  peer: optional(spiffeId, 'SPIFFE ID of the caller.'),
  time: optional(
    time,
    'When it is asked; 2026-01-01T12:00:00Z without it, so that a case means the same every day.',
  ),
  task: optional(
    task,
    'The task it is done for; none otherwise. It is granted the whole ceiling of the ' +
      'TaskPolicy of its purpose, or everything where there is none.',
  ),
  headers: optional(list(field, { most: 100 }), 'Header fields; those of `given` come first.'),
};

const expected = record({
  effect: required(
    choice(['allow', 'deny', 'refused']),
    'refused: it could not be read at all, and never came to a decision.',
  ),
  rule: optional(name, 'The rule that decides.'),
  code: optional(word, 'The code of the decision, or of the refusal.'),
  action: optional(name, 'The action of what is allowed.'),
});

const one = record({
  name: required(sentence, 'What the case proves.'),
  request: required(
    asked,
    '`METHOD target`, as `explain` takes them: `http://host/path`, `https://host/path`, or ' +
      'CONNECT with `host:port`.',
  ),
  listener: optional(name, 'As asked on the local listener of this destination.'),
  tool: optional(word, 'The tool of an MCP server that is called.'),
  args: optional(json('{ amount: 100 }'), 'Its arguments.'),
  message: optional(
    json('{ method: prompts/get, params: { name: x } }'),
    'A whole message to an MCP server.',
  ),
  ...facts,
  expect: required(expected, 'What must come of it; a key that is left out may be anything.'),
});

export const testDocument = record({
  apiVersion: required(choice([API_VERSION]), 'The version of this schema.'),
  kind: required(
    choice(['PolicyTest']),
    'Any number of documents of this kind, in files that end in `.test.yaml`.',
  ),
  metadata: required(metadata, 'What the document is called.'),
  spec: required(
    record({
      given: defaulted(record(facts), {}, 'What holds for every case that does not say otherwise.'),
      cases: required(
        list(one, { least: 1, most: 10_000, unique: ({ name: unique }) => unique }),
        'The cases.',
      ),
    }),
    'Cases, each with the decision that it must come to.',
  ),
});

export type TestDocument = Infer<typeof testDocument>;
