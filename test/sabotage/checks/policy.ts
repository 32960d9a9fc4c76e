/** What decides. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const PATH = 'lib/policy/path.ts';
const HOST = 'lib/policy/host.ts';

export const POLICY: readonly Sabotage[] = [
  sabotage(
    'what no destination lists is denied',
    'lib/policy/decide.ts',
    [
      'found === undefined ? unlisted(policy, facts)',
      'found === undefined && policy.destinations.length === 0 ? unlisted(policy, facts)',
    ],
    attack('authority', 'S10 names that are denied carry nothing to a resolver'),
  ),
  sabotage(
    'a deny rule wins over an allow rule',
    'lib/policy/rules.ts',
    [
      'export function ruleMatches(',
      "export function ruleMatches(rule: Rule, ...rest: [HttpFacts]): boolean {\n  return rule.effect === 'allow' && matchesAsWritten(rule, ...rest);\n}\n\nfunction matchesAsWritten(",
    ],
    attack('paths', 'P1 dot segments, plain and escaped, do not get past a deny rule'),
  ),
  sabotage(
    'the access matrix refuses',
    'lib/policy/decide.ts',
    ["if (row.outcome === 'refused') {", 'if (facts.time < 0) {'],
    attack('tunnels', 'T1 CONNECT to a destination whose requests are judged'),
  ),
  sabotage(
    'a WebSocket needs a rule that says so',
    'lib/policy/rules.ts',
    ["return !request.websocket || websocket || effect === 'deny';", 'return websocket || effect !== undefined;'],
    attack('tunnels', 'T4 a WebSocket that no rule allows as one'),
  ),
  sabotage(
    'an allow rule without methods is about the common ones alone',
    'lib/policy/rules.ts',
    ["return effect === 'deny' || COMMON_METHODS.has(method);", "return effect === 'deny' || method !== '';"],
    attack('framing', 'F12 methods that nobody named are denied'),
  ),
  sabotage(
    'paths are canonical before they are judged',
    PATH,
    ["return `/${kept.join('/')}`;", 'return raw;'],
    attack('paths', 'P1 dot segments, plain and escaped, do not get past a deny rule'),
  ),
  sabotage(
    'a path above the root is malformed',
    PATH,
    ["if (segment === '..' && kept.pop() === undefined) {", "if (segment === '..' && kept.pop() === null) {"],
    attack('paths', 'P1 above the root, backslashes, and dots with parameters are malformed'),
  ),
  sabotage(
    'an escaped slash or backslash is malformed',
    PATH,
    ['code === 0x2f || code === 0x5c || ', ''],
    attack('paths', 'P3 escaped slashes, control characters, bad escapes, bytes beyond ASCII'),
  ),
  sabotage(
    'path parameters are malformed',
    PATH,
    ['const PATH_ALLOWED = /^(?:[', 'const PATH_ALLOWED = /^(?:[;'],
    attack('paths', 'P4 path parameters'),
  ),
  sabotage(
    'a host that ends in a number is no name',
    HOST,
    ["if (NUMBER.test(labels.at(-1) ?? '')) {", "if (NUMBER.test('')) {"],
    attack('authority', 'S1 decimal, octal, hexadecimal and short addresses'),
  ),
  sabotage(
    'a host consists of labels of letters, digits, - and _',
    HOST,
    ['const bad = labels.find((label) => !LABEL.test(label));', "const bad = labels.find((label) => label === '\\0');"],
    attack('authority', 'A5 user information'),
  ),
  sabotage(
    'ports have no leading zeros, no sign and no name',
    'lib/policy/authority.ts',
    ['const PORT = /^[1-9]\\d{0,4}$/;', 'const PORT = /^.+$/;'],
    attack('authority', 'A11 ports that are none'),
  ),
  sabotage(
    'a wildcard does not cover its apex',
    'lib/policy/lookup.ts',
    [
      'if (exact !== undefined) yield exact;',
      'if (exact !== undefined) yield exact;\n  const apex = index.wild.get(host);\n  if (apex !== undefined) yield apex;',
    ],
    attack('authority', 'A9 a wildcard covers names below it and nothing else'),
  ),
  sabotage(
    'private addresses are dialled only where the operator wrote them',
    'lib/policy/addresses.ts',
    ["if (row.class === 'private' && (rule.private || ", "if (row.class === 'private' && (rule !== undefined || "],
    attack('addresses', 'S2 private, shared and unique-local, whose range nobody wrote'),
  ),
  sabotage(
    'the narrowest row of the address table speaks',
    'lib/policy/special-purpose.ts',
    ['(a, b) => b.range.length - a.range.length,', '(a, b) => a.range.length - b.range.length,'],
    by('test/policy/addresses.test.ts', 'metadata services are never dialled, whatever was written (S2)'),
    attack('addresses', 'S2 metadata services'),
  ),
  sabotage(
    'IPv6 that carries IPv4 is never dialled',
    'lib/policy/special-purpose.ts',
    ['64:ff9b::/96 | embeds |', '64:ff9b::/96 | private |'],
    by('test/policy/addresses.test.ts', 'an IPv4 address in IPv6 clothes is refused, whatever it carries (S4)'),
  ),
];
