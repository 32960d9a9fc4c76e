/** Where a message ends and which fields cross. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const HEAD = 'lib/http1/head.ts';
const FIELDS = 'lib/exchange/headers.ts';
const TABLE = 'lib/policy/model/field-table.ts';

const LINGERS = by(
  'test/http1/linger.test.ts',
  'who goes on writing after a refusal, more than is discarded, is held up before the reset, and so reads the answer',
);

export const HTTP: readonly Sabotage[] = [
  sabotage(
    'one Host',
    HEAD,
    ['if (marks.hosts > 1)', 'if (marks.hosts > 9)'],
    attack('authority', 'A4 Host twice or not at all, equal or not, in any spelling'),
  ),
  sabotage(
    'not both Content-Length and Transfer-Encoding',
    HEAD,
    [
      'if (marks.chunked && marks.length !== undefined) throw',
      'if (marks.chunked && marks.length === -1) throw',
    ],
    attack('framing', 'F1 both lengths, in any order and spelling'),
  ),
  sabotage(
    'one Content-Length',
    HEAD,
    ["if (marks.length !== undefined) throw malformed(rules, 'more than one Content-Length');", ''],
    attack('framing', 'F1 two lengths, equal or not, and lengths that are none'),
  ),
  sabotage(
    'the only transfer coding is chunked, once',
    HEAD,
    [
      "if (marks.chunked || value.toLowerCase() !== 'chunked')",
      "if (!value.toLowerCase().includes('chunked'))",
    ],
    attack('framing', 'F2 other codings, repeated codings, and HTTP/1.0 with one'),
  ),
  sabotage(
    'no Transfer-Encoding with HTTP/1.0',
    HEAD,
    ["if (minor === 0) throw malformed(rules, 'Transfer-Encoding with HTTP/1.0');", ''],
    attack('framing', 'F2 other codings, repeated codings, and HTTP/1.0 with one'),
  ),
  sabotage(
    'HEAD has no body',
    HEAD,
    ['if (content) throw malformed(REQUEST, `${method} with a body`);', ''],
    attack('framing', 'F3 GET and HEAD with a body'),
  ),
  sabotage(
    'a GET has no content where no rule allows it',
    'lib/forward/describe.ts',
    [
      'if (destination && protocolOf(destination).mayAllowContentOnGet(destination.service)) return head;',
      'if (destination !== undefined) return head;',
    ],
    attack('framing', 'F3 GET and HEAD with a body'),
  ),
  sabotage(
    'content on a GET needs a rule that allows it',
    'lib/policy/protocols/http-rules.ts',
    [
      "contentOnGet === true || effect === 'deny';",
      "contentOnGet === true || effect !== 'deny' || effect === 'deny';",
    ],
    by(
      'test/forward/get-content.test.ts',
      'another rule of the destination does not allow it: 403 and not one byte',
    ),
  ),
  sabotage(
    'a connection that had a GET with content is not used again',
    'lib/forward/http.ts',
    ['if (hasContentOnGet(facts.http))', 'if (facts.http === undefined)'],
    by(
      'test/forward/get-content.test.ts',
      'a GET with content passes where its rule allows it, on a connection of its own',
    ),
  ),
  sabotage(
    'a method in lower case is no method',
    HEAD,
    ['if (method !== method.toUpperCase())', "if (method === 'no method')"],
    attack('framing', 'F12 methods in lower case, and those that no proxy serves'),
  ),
  sabotage(
    'chunk sizes are hexadecimal digits and nothing else',
    'lib/http1/body.ts',
    ['    if (value < 0)\n', '    if (value < 0 && byte !== 13) return;\n    if (value < 0)\n'],
    attack('framing', 'F2 chunks: extensions, signs, spaces, lengths that lie, bare LF'),
  ),
  sabotage(
    'a chunk ends where its size says',
    'lib/http1/body.ts',
    ["if (byte !== CR) throw this.#malformed('a chunk longer than its size');", ''],
    attack('framing', 'F2 chunks: extensions, signs, spaces, lengths that lie, bare LF'),
  ),
  sabotage(
    'trailers may not frame, route or authenticate',
    'lib/http/field-lines.ts',
    [
      '  if (role === \'request\') throw malformed(rules, `"${misplaced}" is not allowed in trailers`);\n',
      '',
    ],
    attack('framing', 'F7 trailers that frame, route, authenticate or claim'),
  ),
  sabotage(
    'lines end in CR LF',
    'lib/http/field-lines.ts',
    ['if (at + 1 < text.length && text.charCodeAt(at + 1) !== LF)', 'if (at + 1 < 0)'],
    attack('framing', 'F4 lines that end, continue or begin as they must not'),
  ),
  sabotage(
    'heads have a bounded number of fields',
    'lib/http/field-lines.ts',
    [
      'if (fields.length >= most) throw tooManyFields(',
      'if (fields.length < 0) throw tooManyFields(',
    ],
    attack('headers', 'H9 too many fields, too long fields, too long heads'),
  ),
  sabotage(
    'a switch that nobody asked for is refused',
    'lib/http1/upgrade.ts',
    ["throw malformed(RESPONSE, 'it switches to a protocol that was not asked for');", 'return;'],
    by(
      'test/http1/client.test.ts',
      'what is not plainly an answer to what was asked is refused and the connection destroyed (F9)',
    ),
  ),
  sabotage(
    'interim answers are bounded',
    'lib/http1/client.ts',
    ['if (this.#informs > this.#limits.informs)', 'if (this.#informs < 0)'],
    attack('framing', 'F8 a flood of interim answers'),
  ),
  sabotage(
    'behind a refused request nothing is read',
    'lib/exchange/fault-response.ts',
    ['return !UNDERSTOOD.has(code) && ', 'return code.length === 0 && '],
    attack('framing', 'F5 what comes behind a refused head is not read, whatever it is'),
  ),
  sabotage(
    'hop-by-hop fields stop here',
    TABLE,
    ["...HOP_BY_HOP.map((name) => [name, 'hop'] as const),", ''],
    attack('headers', 'H4 hop-by-hop fields'),
  ),
  sabotage(
    'claims of identity, origin and task stop here',
    TABLE,
    ["(claimOf(folded) === undefined ? 'plain' : 'claim')", "'plain'"],
    attack('headers', 'H1 claims about who is asking stop here, in every spelling'),
  ),
  sabotage(
    '_ is read as - in field names',
    TABLE,
    ["? name.replace(/[^a-z0-9-]/g, '-') : name", '? name : name'],
    attack('headers', 'H1 claims about who is asking stop here, in every spelling'),
  ),
  sabotage(
    'Connection may not nominate what is not for one hop',
    FIELDS,
    ['else if (!answer) throw nominated();', ''],
    attack('headers', 'H2 Connection may not take away what is not for one hop'),
  ),
  sabotage(
    'what Connection nominates stops here',
    FIELDS,
    [
      "if (is === 'strip' || dropped?.has(name) === true) continue;",
      "if (is === 'strip') continue;",
    ],
    attack('headers', 'H2 what Connection names is for this hop alone'),
  ),
  sabotage(
    'fields that override method or path are refused',
    FIELDS,
    ["if (is === 'refuse') throw overriding(name);", ''],
    attack('headers', 'F11 method and path overrides'),
  ),
  sabotage(
    'fields that count once are not there twice',
    FIELDS,
    ['if (singles?.includes(name) === true) throw repeated(name);', ''],
    attack('headers', 'H6 fields that count once are not there twice'),
  ),
  sabotage(
    'a request that has been here is a loop',
    FIELDS,
    ["if (name === 'via' && value.includes(pseudonym)) throw looped();", ''],
    by(
      'test/exchange/headers.test.ts',
      'a request that has been through this process is a loop; one through another is not (H7)',
    ),
  ),
  sabotage(
    "a brokered credential replaces the agent's Authorization",
    'lib/credentials/authorization.ts',
    [
      "if (!isAuthorization(name)) kept.push(name, fields[i + 1] ?? '');",
      "kept.push(name, fields[i + 1] ?? '');",
    ],
    attack('headers', "H8 the agent's Authorization is replaced, never sent beside ours"),
  ),
  sabotage(
    'the fields that are judged are the fields that are sent',
    'lib/exchange/describe.ts',
    [
      'const fields = reading.fields.request(head.fields, headers);',
      'reading.fields.request(head.fields, headers);\n  const { fields } = head;',
    ],
    attack('headers', 'H10 what Connection takes away is no fact for a condition'),
  ),
  sabotage(
    'what the policy of now judges is read by it',
    'lib/exchange/authorize.ts',
    ['reader?.reread(described, policy) ?? described.facts', 'described.facts'],
    by(
      'test/exchange/headers.test.ts',
      'what a policy of now judges is read by it too, though the message began under another',
    ),
    by(
      'test/exchange/reread.test.ts',
      'content that was read before a reload is judged, approved and sent under the policy after it',
    ),
  ),
  sabotage(
    'who writes on after a refusal is held up before the reset',
    'lib/http1/linger.ts',
    [
      '    input.pause();\n    reading.set(this.#limits.farewellMs);',
      '    this.#transport.socket.destroy();',
    ],
    LINGERS,
  ),
  sabotage(
    'bytes after a refusal are discarded within a bound',
    'lib/http1/linger.ts',
    [
      'if (this.#discarded <= this.#limits.lingerBytes) return;',
      'if (this.#discarded >= 0) return;',
    ],
    by(
      'test/http1/linger.test.ts',
      'what still comes after a refusal is discarded up to a bound, and no more is taken',
    ),
  ),
  sabotage(
    'what is under way is read anew by a new policy',
    'lib/exchange/reauthorize.ts',
    ['reader?.reread(described, policy) ?? described.facts', 'described.facts'],
    by(
      'test/exchange/reread.test.ts',
      'what a path of a spelling that is no longer kept carries is cut when the policy says so',
    ),
  ),
  sabotage(
    'what a policy since would send otherwise is not sent',
    'lib/forward/send.ts',
    ['      requireSame(permit.facts, exchange.authorization?.facts);\n', ''],
    by(
      'test/exchange/reread.test.ts',
      'a request of which a reload would send something else before it is sent reaches nobody',
    ),
  ),
  sabotage(
    'no setting of a destination lets cross what never crosses',
    TABLE,
    [
      "if (NEVER.has(kind)) return 'strip';",
      "if (NEVER.has(kind) && headers === undefined) return 'strip';",
    ],
    by(
      'test/exchange/headers.test.ts',
      'a destination may let claims pass, take more off, or let nothing but what it names pass',
    ),
  ),
  sabotage(
    'what never crosses is refused in a document that would let it pass',
    'lib/config/documents/headers.ts',
    ['if (!NEVER.has(kind)) return name;', "if (kind !== 'plain' || NEVER.size > 0) return name;"],
    by(
      'test/exchange/headers.test.ts',
      'what must never cross is refused where it is written, in pass and in only',
    ),
  ),
  sabotage(
    'a claim passes in the spelling alone that a destination names',
    TABLE,
    ['const passed = isNamed(pass, name);', 'const passed = isNamed(pass, folded);'],
    by(
      'test/exchange/headers.test.ts',
      'a destination may let claims pass, take more off, or let nothing but what it names pass',
    ),
  ),
];
