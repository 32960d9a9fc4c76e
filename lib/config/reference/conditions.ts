/**
 * docs/reference/conditions.md: what a condition may speak of, from the tables that type-check it.
 */
import {
  COMPREHENSIONS,
  CONDITION_LIMITS,
  FUNCTIONS,
  METHODS,
  TYPES,
  VARIABLES,
  type FieldRow,
} from '../../policy/conditions/variables.ts';
import { SECRET_FIELDS } from '../../policy/model/judged-fields.ts';

const LIMITS = `## Limits

At most ${CONDITION_LIMITS.characters} characters, ${CONDITION_LIMITS.nodes} nodes,
${CONDITION_LIMITS.depth} levels, ${CONDITION_LIMITS.literalMembers} members in a literal,
${CONDITION_LIMITS.patternCharacters} characters in a pattern: more does not load. A query with
more than ${CONDITION_LIMITS.members} parameters, more than ${CONDITION_LIMITS.members} header
fields, arguments of more than ${CONDITION_LIMITS.values} values, more than
${CONDITION_LIMITS.work} units of work over one decision (a unit for each node that is evaluated
and each turn of a loop; for 32 characters that are compared or joined; for 16 that \`contains\`,
\`size\` and \`lowerAscii\` read; one and a tenth of the states of its pattern for each character
that \`matches\` reads), and a text longer than ${CONDITION_LIMITS.needle} characters to look for:
there is no answer.
`;

export function conditionsPage(generated: string): string {
  const variables = VARIABLES.map(
    ([name, { type, phases, doc }]) =>
      `| \`${name}\` | \`${type}\` | ${phases.join(', ')} | ${doc} |`,
  );
  return `# Conditions

${generated}

\`when\` of a rule is a condition in [CEL](https://cel.dev): it is parsed and type-checked to
\`bool\` when the document is loaded, and a document whose condition is not is refused. It is read
after the rest of the rule has matched. Where it cannot be evaluated (a key is missing, a value is
of another type, something is not known), a deny rule denies, an allow rule does not allow, and
the record says so in \`policyError\`. How to write and test conditions is in
[policy.md](../policy.md).

## Variables

What is known depends on what the rule is about. Another name is an error when the document is
loaded.

| name | type | known for | |
|---|---|---|---|
${variables.join('\n')}

## Types

| field | type | |
|---|---|---|
${Object.entries(TYPES)
  .flatMap(([name, fields]) => fieldRows(name, fields))
  .join('\n')}

Fields of requests that carry secrets are not there:
${[...SECRET_FIELDS].map((name) => `\`${name}\``).join(', ')}.

## Functions

Besides \`&& || ! == != < <= > >= in + - * / % ?: [] {}\` there are these functions and methods;
others are refused.

${list(FUNCTIONS, (name) => `${name}()`)}
${list(METHODS, (name) => `.${name}()`)}

${[...COMPREHENSIONS].map((name) => `\`${name}\``).join(', ')} are loops.
A loop is not inside of another.

${LIMITS}`;
}

function fieldRows(name: string, fields: Readonly<Record<string, FieldRow>>): readonly string[] {
  return Object.entries(fields).map(
    ([field, { type, doc }]) => `| \`${name}.${field}\` | \`${type}\` | ${doc} |`,
  );
}

function list(rows: ReadonlyMap<string, string>, written: (name: string) => string): string {
  return Array.from(
    rows,
    ([name, doc]) => `- \`${written(name)}\`${doc === '' ? '' : `: ${doc}`}`,
  ).join('\n');
}
