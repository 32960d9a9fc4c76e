/**
 * What an agent declares that it is about to do. An intent may be written by anyone, a language
 * model among them: it asks, and only the ceiling of a TaskPolicy decides. Read by the decoders of
 * the configuration, so that a wrong one is answered with line, column and fix.
 */
import { Fault } from '../base/fault.ts';
import { action, dataClass, duration, name, person, target } from '../config/documents/scalars.ts';
import {
  defaulted,
  flag,
  integer,
  list,
  optional,
  record,
  refine,
  required,
} from '../schema/decode.ts';
import { problems as collector } from '../schema/problem.ts';
import type { Infer } from '../schema/schema.ts';
import { canonicalJson } from '../schema/tree.ts';
import { parseYaml } from '../schema/yaml.ts';

const fields = record({
  purpose: required(name, 'What for: one of the purposes of a TaskPolicy.'),
  owner: optional(person, 'Who answers for the task.'),
  onBehalfOf: optional(person, 'The person for whom the agent acts.'),
  targets: required(
    list(target, { least: 1, most: 1000, unique: String }),
    'Names of destinations, or hosts with or without port.',
  ),
  actions: required(
    list(action, { least: 1, most: 64, unique: String }),
    'What is to be done there.',
  ),
  dataClasses: optional(
    list(dataClass, { least: 1, most: 64, unique: String }),
    'Classes of data to be touched; those of the targets otherwise.',
  ),
  lifetime: defaulted(duration('10m'), '10m', 'How long the task may last.'),
  maxCalls: optional(
    integer(1, 1_000_000_000),
    'How many calls; as many as the policy has otherwise.',
  ),
  isolated: defaulted(flag(), false, 'A history of its own, where the policy allows that.'),
  hold: defaulted(flag(), false, 'The task ends when the connection that opened it closes.'),
});

export const intentSchema = refine(fields, (intent) =>
  intent.owner === undefined && intent.onBehalfOf === undefined
    ? {
        message: 'nobody answers for the task',
        fix: 'write owner, or onBehalfOf for a person the agent acts for',
      }
    : { value: intent },
);

export type Intent = Infer<typeof intentSchema>;

/** Larger intents are refused; in characters. */
const MAX_INTENT = 65_536;

/**
 * Of a file: one YAML document, or JSON, which is YAML. What comes over an API is JSON alone.
 * @param source stands before line and column in messages
 * @throws Fault `malformed` with one line for each problem
 */
export function parseIntent(source: string, text: string): Intent {
  return read(source, text).intent;
}

/**
 * The JSON body that asks for this intent, with members of it replaced. @throws Fault `malformed`,
 * as parseIntent
 */
export function intentBody(
  source: string,
  text: string,
  more: Readonly<Record<string, boolean>>,
): string {
  const whole: unknown = JSON.parse(read(source, text).json);
  return JSON.stringify(Object.assign(Object(whole), more));
}

function read(source: string, text: string): { readonly intent: Intent; readonly json: string } {
  if (text.length > MAX_INTENT)
    throw new Fault('body-too-large', `an intent has at most ${MAX_INTENT} characters`);
  const problems = collector();
  const trees = parseYaml(source, text, problems);
  const [tree] = trees;
  const whole = problems.size === 0 && tree !== undefined && trees.length === 1;
  const intent = whole ? intentSchema.read(tree, { problems, steps: [] }) : undefined;
  const fault = problems.fault('malformed');
  if (fault !== undefined) throw fault;
  if (intent === undefined || tree === undefined) {
    throw new Fault('malformed', `${source}: there must be one document`, {
      hint: 'write purpose, owner, targets, actions',
    });
  }
  return { intent: intent.value, json: canonicalJson(tree) };
}
