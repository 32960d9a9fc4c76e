/** What decides. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const PATH = 'lib/net/path.ts';
const HOST = 'lib/net/host.ts';

export const POLICY: readonly Sabotage[] = [
  sabotage(
    'what no destination lists is denied',
    'lib/policy/decision/locate.ts',
    [
      'return found === undefined ? {',
      'return found === undefined && policy.destinations.length === 0 ? {',
    ],
    attack('authority', 'S10 names that are denied carry nothing to a resolver'),
  ),
  sabotage(
    'a deny rule wins over an allow rule',
    'lib/policy/protocols/http-rules.ts',
    [
      'export function ruleMatches(',
      'export function ruleMatches(rule: HttpRule, ...rest: [HttpFacts]): boolean {\n' +
        "  return rule.effect === 'allow' && matchesAsWritten(rule, ...rest);\n" +
        '}\n' +
        '\n' +
        'function matchesAsWritten(',
    ],
    attack('paths', 'P1 dot segments, plain and escaped, do not get past a deny rule'),
  ),
  sabotage(
    'the access matrix refuses',
    'lib/policy/decision/decide.ts',
    ["if (row.outcome === 'refused')", 'if (facts.time < 0)'],
    attack('tunnels', 'T1 CONNECT to a destination whose requests are judged'),
  ),
  sabotage(
    'a WebSocket needs a rule that says so',
    'lib/policy/protocols/http-rules.ts',
    [
      "return !request.websocket || websocket || effect === 'deny';",
      'return websocket || effect !== undefined;',
    ],
    attack('tunnels', 'T4 a WebSocket that no rule allows as one'),
  ),
  sabotage(
    'an allow rule without methods is about the common ones alone',
    'lib/policy/protocols/http-rules.ts',
    [
      "return effect === 'deny' || COMMON_METHODS.has(method);",
      "return effect === 'deny' || method !== '';",
    ],
    attack('framing', 'F12 methods that nobody named are denied'),
  ),
  sabotage(
    'dot segments are refused',
    PATH,
    ["if (DOTS.test(path)) throw spelt('has dot segments', path, keeps);", ''],
    attack('paths', 'P1 dot segments, plain and escaped, do not get past a deny rule'),
  ),
  sabotage(
    'a path above the root has no canonical form',
    PATH,
    [
      "if (segment === '..' && kept.pop() === undefined) return undefined;",
      "if (segment === '..' && kept.pop() === '') return undefined;",
    ],
    attack('paths', 'P1 above the root, backslashes, and dots with parameters are malformed'),
  ),
  sabotage(
    'an escaped slash or backslash is malformed',
    PATH,
    ['if (code === 0x2f && !encodedSlash) throw slashed();\n    if (code === 0x5c || ', 'if ('],
    attack('paths', 'P3 escaped slashes, control characters, bad escapes, bytes beyond ASCII'),
  ),
  sabotage(
    'empty segments are refused unless the destination keeps them',
    PATH,
    [
      "if (path.includes('//') && !keeps.emptySegments)",
      "if (path === '//' && !keeps.emptySegments)",
    ],
    attack('paths', 'P2 runs of slashes'),
  ),
  sabotage(
    'escapes of what needs none are undone before a path is judged',
    PATH,
    ['return UNRESERVED.test(char) ? char : escape.toUpperCase();', 'return escape.toUpperCase();'],
    attack('paths', 'P7 /a/b is what is judged and sent'),
  ),
  sabotage(
    'dot segments between escaped slashes are refused where those are kept',
    PATH,
    ['/(?:\\/|%2F)\\.{1,2}(?=\\/|%2F|$)/', '/\\/\\.{1,2}(?=\\/|$)/'],
    attack('paths', 'P3 what is kept has no dot segments, no backslash, no escape of an escape'),
  ),
  sabotage(
    'escapes that become a slash are refused where slashes are kept',
    PATH,
    ['if (encodedSlash && TWICE.test(text))', "if (encodedSlash && TWICE.test(''))"],
    attack('paths', 'P3 what is kept has no dot segments, no backslash, no escape of an escape'),
  ),
  sabotage(
    'deny rules see through escaped slashes and runs of slashes that are kept',
    'lib/policy/protocols/http-rules.ts',
    [
      '? paths.some((pattern) => pattern.denies(path))',
      '? paths.some((pattern) => pattern.matches(path))',
    ],
    attack(
      'paths',
      'P3 a destination that keeps escaped slashes sends them, and deny rules see through them',
    ),
  ),
  sabotage(
    'allow rules do not see through what is kept',
    'lib/policy/protocols/http-rules.ts',
    [
      ': paths.some((pattern) => pattern.matches(path));',
      ': paths.some((pattern) => pattern.denies(path));',
    ],
    attack('paths', 'P3 an allow rule is about what is kept, and about nothing that it may become'),
  ),
  sabotage(
    'a pattern that no path of its destination could match does not load',
    'lib/config/checks/upstream.ts',
    [
      "text.includes('%2F') && paths?.encodedSlash !== 'keep',",
      "text === '%2F' && paths?.encodedSlash !== 'keep',",
    ],
    by(
      'test/config/checks.test.ts',
      'patterns-fit-the-paths: rules: [{ name: a, effect: allow, action: read, http: { paths: [/projects/a%2Fb] } }]',
    ),
  ),
  sabotage(
    'user information of a URI is not shown',
    'lib/policy/model/shown.ts',
    ["const host = authority.slice(authority.lastIndexOf('@') + 1);", 'const host = authority;'],
    attack('secrets', 'C6 resources of MCP that no rule allows'),
  ),
  sabotage(
    'parameters of a segment are not shown',
    'lib/policy/model/shown.ts',
    ["path.replace(/%3B[^/]*/g, '%3B...')", "path.replace(/%3B[^/]*/g, '$&')"],
    attack('secrets', 'C6 queries, and parameters that are escaped'),
  ),
  sabotage(
    'a reason shows of a resource what may be shown',
    'lib/policy/protocols/mcp-rules.ts',
    ['(uri === undefined ? undefined : shownUri(uri))', 'uri'],
    attack('secrets', 'C6 resources of MCP that no rule allows'),
  ),
  sabotage(
    'an explanation shows of a query what may be shown',
    'cmd/commands/explain.ts',
    ['shownQuery(http.query)', 'http.query'],
    by(
      'test/scenarios/quotes-no-secret-that-was-sent.test.ts',
      'explain, tests of policy and suggestions quote nothing of what they are asked about',
    ),
  ),
  sabotage(
    'a host that cannot be read is not quoted',
    'lib/net/host.ts',
    [
      'throw malformed(labelProblem(name, bad));',
      'throw malformed(`${text} ${labelProblem(name, bad)}`);',
    ],
    attack('secrets', 'C6 user information in the authority'),
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
    [
      'const bad = labels.find((label) => !LABEL.test(label));',
      "const bad = labels.find((label) => label === '\\0');",
    ],
    attack('authority', 'A5 user information'),
  ),
  sabotage(
    'ports have no leading zeros, no sign and no name',
    'lib/net/authority.ts',
    ['const PORT = /^[1-9]\\d{0,4}$/;', 'const PORT = /^.+$/;'],
    attack('authority', 'A11 ports that are none'),
  ),
  sabotage(
    'a wildcard does not cover its apex',
    'lib/policy/decision/lookup.ts',
    [
      'if (exact !== undefined) yield exact;',
      'if (exact !== undefined) yield exact;\n' +
        '  const apex = index.wild.get(host);\n' +
        '  if (apex !== undefined) yield apex;',
    ],
    attack('authority', 'A9 a wildcard covers names below it and nothing else'),
  ),
  sabotage(
    'private addresses are dialled only where the operator wrote them',
    'lib/net/addresses.ts',
    [
      "if (row.class === 'private' && (rule.private || ",
      "if (row.class === 'private' && (rule !== undefined || ",
    ],
    attack('addresses', 'S2 private, shared and unique-local, whose range nobody wrote'),
  ),
  sabotage(
    'the narrowest row of the address table speaks',
    'lib/net/special-purpose.ts',
    ['(a, b) => b.range.length - a.range.length', '(a, b) => a.range.length - b.range.length,'],
    by(
      'test/net/addresses.test.ts',
      'metadata services are never dialled, whatever was written (S2)',
    ),
    attack('addresses', 'S2 metadata services'),
  ),
  sabotage(
    'IPv6 that carries IPv4 is never dialled',
    'lib/net/special-purpose.ts',
    ['64:ff9b::/96 | embeds |', '64:ff9b::/96 | private |'],
    by(
      'test/net/addresses.test.ts',
      'an IPv4 address in IPv6 clothes is refused, whatever it carries (S4)',
    ),
  ),
];
