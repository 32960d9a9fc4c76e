/** What conditions rest on. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const CHECK = 'lib/policy/conditions/check.ts';
const CEL = 'lib/policy/conditions/cel.ts';
const ENGINE = 'test/policy/conditions.test.ts';
const REFUSED = by(
  ENGINE,
  'a condition is a bool of its phase or it is refused, with place and fix',
);
const SLOW = by(ENGINE, 'nothing an agent sends makes a condition slow (R4)');
const SECRETS = by(
  ENGINE,
  'secrets are not seen: not listed, not found, not even named in a condition (C5)',
);
const WORK = 'test/policy/work.test.ts';
const DECIDE = 'test/policy/decide.test.ts';
const SAFE = by(
  DECIDE,
  'a condition is read last: true matches, false does not, and no answer is the safe one of each effect',
);

export const CONDITIONS: readonly Sabotage[] = [
  sabotage(
    'a deny rule whose condition has no answer denies',
    'lib/policy/protocols/by-rules.ts',
    ['if (answer !== false) return refusal(', 'if (answer === true) return refusal('],
    SAFE,
  ),
  sabotage(
    'an allow rule whose condition has no answer does not allow',
    'lib/policy/protocols/by-rules.ts',
    [
      '    if (answer === true) {\n      const reason = `rule ${rule.name} of destination ${destination.name} allows',
      '    if (answer !== false) {\n      const reason = `rule ${rule.name} of destination ${destination.name} allows',
    ],
    SAFE,
  ),
  sabotage(
    'a condition is of type bool',
    'lib/policy/conditions/compile.ts',
    ["if (type === 'bool') return;", "if (type !== 'nothing') return;"],
    REFUSED,
  ),
  sabotage(
    'a condition calls declared functions alone',
    CHECK,
    ['if (!METHODS.has(name)) throw', 'if (METHODS.has(`no ${name}`)) throw'],
    REFUSED,
  ),
  sabotage(
    'loops are not nested',
    CHECK,
    ['if (inLoop) throw objection(node,', "if (inLoop && node.op === '') throw objection(node,"],
    REFUSED,
  ),
  sabotage(
    'patterns are RE2',
    'lib/policy/conditions/cel-conversions.ts',
    ["  matches: 're2 matches',\n", ''],
    SLOW,
  ),
  sabotage(
    'the work of conditions is bounded',
    'lib/policy/conditions/cel-meter.ts',
    ['if (context.work < 0) throw TOO_MUCH;', 'if (context.work < -1e12) throw TOO_MUCH;'],
    by(
      WORK,
      'past the work of one decision there is no answer, whatever the operators make of errors',
    ),
  ),
  sabotage(
    'what does not change in a loop is evaluated once',
    'lib/policy/conditions/cel-meter.ts',
    ['node.evaluate = invariant ? once(', 'node.evaluate = loop === "" ? once('],
    by(WORK, 'what does not change in a loop is evaluated once'),
  ),
  sabotage(
    'a number that no double says exactly has no answer',
    'lib/policy/conditions/plain.ts',
    ['exactDouble(value.text) ?? INEXACT', 'value.value'],
    by(WORK, 'numbers in conditions are exact, or there is no answer'),
  ),
  sabotage(
    'has() of what is no map is an error',
    CEL,
    [
      "if (typeof value !== 'object' || value === null || Array.isArray(value)) throw",
      'if (value === undefined) throw',
    ],
    by(
      ENGINE,
      'what cannot be evaluated has no answer, in words without a value of the request (C5)',
    ),
  ),
  sabotage(
    'secret header fields are not listed',
    'lib/policy/model/judged-fields.ts',
    [' || SECRET_FIELDS.has(foldField(name))) continue;', ') continue;'],
    SECRETS,
  ),
  sabotage(
    'secret header fields are not found by name',
    'lib/policy/model/judged-fields.ts',
    ['  if (SECRET_FIELDS.has(foldField(name))) return values;\n', ''],
    SECRETS,
  ),
  sabotage(
    'other spellings of fields that conditions read are refused',
    'lib/policy/conditions/spellings.ts',
    [
      "refuse('a header field', fields(lines[i] ?? ''), name);",
      "refuse('a header field', undefined, name);",
    ],
    attack('headers', 'H11 another spelling of what a condition reads is not sent beside it'),
  ),
  sabotage(
    'other spellings of parameters that conditions read are refused',
    'lib/exchange/describe.ts',
    ['    spellings.params(query);\n', ''],
    attack('paths', 'P8 another spelling of what a condition reads is not sent'),
  ),
  sabotage(
    'other spellings of arguments that conditions read are refused',
    'lib/forward/mcp.ts',
    ['    destination.spellings?.args(mcp.args);\n', ''],
    attack('messages', 'M9 another spelling of what a condition reads is not sent'),
  ),
  sabotage(
    'letters that are one as capitals are one in names',
    'lib/policy/conditions/name-folds.ts',
    ['    .toUpperCase()\n', ''],
    attack('paths', 'P8 another spelling of what a condition reads is not sent'),
  ),
  sabotage(
    'characters that nobody draws are no part of a name',
    'lib/policy/conditions/name-folds.ts',
    ['\\p{Default_Ignorable_Code_Point}]/gu', ']/gu'],
    attack('messages', 'M9 another spelling of what a condition reads is not sent'),
  ),
  sabotage(
    'what servers take off before a parameter is taken off',
    'lib/policy/conditions/spellings.ts',
    ['folds: parameterFoldsOf', 'folds: foldsOf'],
    attack('paths', 'P8 another spelling of what a condition reads is not sent'),
  ),
  sabotage(
    'no name of an argument changes what conditions make of it',
    'lib/policy/conditions/plain.ts',
    ["if (value.has('constructor'))", "if (value.has('no constructor'))"],
    by(WORK, 'no name of an argument changes what a condition makes of the others'),
  ),
  sabotage(
    'names that conditions loop over are held to what they are compared with',
    'lib/policy/conditions/reads.ts',
    ["if (key === 'query') this.params.loose = true;", ''],
    by(
      'test/policy/spellings.test.ts',
      'a condition that reads names by a loop is held to what it compares them with',
    ),
  ),
  sabotage(
    'a condition over a field that never passes does not load',
    'lib/config/load/conditions.ts',
    [
      "if (verdict !== 'strip' && verdict !== 'refuse') return;",
      "if (verdict !== 'refuse' || name === '') return;",
    ],
    by(
      'test/exchange/headers.test.ts',
      'a condition over a field that never passes does not load, because it would never hold',
    ),
  ),
  sabotage(
    'NUL in a query is refused',
    'lib/net/path.ts',
    ['/%(?![0-9A-Fa-f]{2})|%00/', '/%(?![0-9A-Fa-f]{2})/'],
    attack('paths', 'P6 NUL in a query'),
  ),
  sabotage(
    'a query with ; has no answer',
    'lib/policy/conditions/scope.ts',
    ["if (query.includes(';')) throw", "if (query.includes(';;')) throw"],
    by(ENGINE, 'an ambiguous query has no answer (P6)'),
  ),
];
