/** Messages of MCP: how they are read, judged, and what servers may say. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const CANNOT_BE_READ = by(
  'test/forward/mcp.test.ts',
  'what cannot be read is 400, 413 or 415 with the error of JSON-RPC, and nothing reaches the server',
);
const MESSAGES = by('test/mcp/message.test.ts', 'everything else is refused (M1, M2, M3, M11)');
const NAMES = by(
  'test/schema/json.test.ts',
  'names that some parser takes for equal are refused (M1, M2)',
);
const LISTS = by(
  'test/forward/mcp-replies.test.ts',
  'lists show what is allowed and nothing else, in JSON and in a stream (M8)',
);
const SESSIONS = by(
  'test/forward/mcp-sessions.test.ts',
  'a session is of who opened it; from elsewhere it is 404 (M13)',
);

const FLOW = ', over what was read before, closes the whole conversation but its ends';
const SAID = by(
  'test/forward/mcp-said.test.ts',
  'words in every part of a message that is no argument reach the server in none',
);

export const MCP: readonly Sabotage[] = Object.freeze([
  sabotage(
    'numbers past all doubles stay apart in the canonical form',
    'lib/schema/json-writer.ts',
    ['digits.length > 15 || !Number.isFinite(value) ?', 'digits.length > 15 ?'],
    by(
      'test/schema/json.test.ts',
      'canonical text is one for all texts of a value, and two for two values',
    ),
  ),
  sabotage(
    'a name that is there twice is refused',
    'lib/schema/json-reader.ts',
    ['if (members.size === before) throw', 'if (members.size < 0) throw'],
    CANNOT_BE_READ,
  ),
  sabotage(
    'names that differ in letter case alone are refused',
    'lib/schema/json-reader.ts',
    ['if (taken && frame.members', 'if (!taken && frame.members'],
    NAMES,
  ),
  sabotage(
    'half of a surrogate pair is refused',
    'lib/schema/json-reader.ts',
    ['if (onBroken === undefined) throw', 'if (onBroken === null) throw'],
    CANNOT_BE_READ,
  ),
  sabotage(
    'nesting has a depth',
    'lib/schema/json-reader.ts',
    ['if (this.#open.length === most) throw', 'if (this.#open.length < 0) throw'],
    by('test/schema/json.test.ts', 'bounds and forms (M4, M6)'),
  ),
  sabotage(
    'members that JSON-RPC does not have are refused',
    'lib/mcp/message.ts',
    ['if (!MEMBERS.has(name)) throw', 'if (name === "") throw'],
    MESSAGES,
  ),
  sabotage(
    'Name is not name',
    'lib/mcp/message.ts',
    ['if (meant !== undefined && meant !== name)', 'if (meant === null)'],
    MESSAGES,
  ),
  sabotage(
    'only JSON in UTF-8 is a message',
    'lib/mcp/request.ts',
    ['if (type === undefined || !/^application', 'if (type === null || !/^(?:.*)$|^application'],
    CANNOT_BE_READ,
  ),
  sabotage(
    'an encoded body is not a message',
    'lib/mcp/request.ts',
    ["if (coding.toLowerCase() !== 'identity')", "if (coding === '')"],
    CANNOT_BE_READ,
  ),
  sabotage(
    'Mcp-Method is what the body says',
    'lib/mcp/header-values.ts',
    ['if (method !== undefined && method !== inBody)', 'if (method === null)'],
    CANNOT_BE_READ,
  ),
  sabotage(
    'Mcp-Name is what the body says',
    'lib/mcp/header-values.ts',
    [
      'if (name !== undefined && (meant === undefined || decodeValue(name) !== meant))',
      'if (name === null)',
    ],
    CANNOT_BE_READ,
  ),
  sabotage(
    'the version in the field is the one in the body',
    'lib/mcp/version.ts',
    ['if (repeated !== undefined && repeated !== field)', 'if (repeated === null)'],
    by(
      'test/forward/mcp.test.ts',
      '2026-07-28: fields and body say the same or nothing is sent (M7)',
    ),
  ),
  sabotage(
    'names of tools are of one alphabet',
    'lib/mcp/subject.ts',
    ['if (NAME.test(name)) return name;', 'if (NAME.test("a")) return name;'],
    CANNOT_BE_READ,
  ),
  sabotage(
    'a URI has one spelling',
    'lib/net/resource.ts',
    ["return 'has a dot segment';", 'return undefined;'],
    by('test/forward/mcp.test.ts', 'prompts, resources and their deny rules'),
  ),
  sabotage(
    'only the endpoint is MCP',
    'lib/forward/mcp-endpoint.ts',
    [
      "if (!destination.service.endpoints.has(http.path) || http.query !== '')",
      "if (http.path === '')",
    ],
    by(
      'test/forward/mcp.test.ts',
      'only the endpoint is served, without a query, by POST, GET and DELETE',
    ),
  ),
  sabotage(
    'a request that is no message is denied at an MCP destination',
    'lib/policy/protocols/mcp.ts',
    ['if (beside.length === 0 ||', 'if ('],
    by(
      'test/forward/mcp.test.ts',
      'only the endpoint is served, without a query, by POST, GET and DELETE',
    ),
  ),
  sabotage(
    'a deny rule over history is about the whole conversation',
    'lib/policy/protocols/mcp-rules.ts',
    ['return readsHistory(when) && !endsSomething(message);', 'return when === null;'],
    by('test/forward/mcp-flow.test.ts', `a deny rule over every tool${FLOW}`),
  ),
  sabotage(
    'an allow rule that history closes opens no conversation',
    'lib/policy/protocols/mcp-rules.ts',
    [
      'endsSomething(message) || question.ask(when) !== false',
      'endsSomething(message) || when !== null',
    ],
    by('test/forward/mcp-flow.test.ts', `an allow rule whose condition is false now${FLOW}`),
  ),
  sabotage(
    'a list that was read stands in the history',
    'lib/policy/protocols/mcp-rules.ts',
    [
      "return { action: 'read', conversation: 'reads' };",
      "return { action: 'none', conversation: 'reads' };",
    ],
    by(
      'test/forward/mcp-flow.test.ts',
      'a list that was read is read: it stands in the history of its class, and takes no use',
    ),
  ),
  sabotage(
    'members without a meaning go no further',
    'lib/mcp/narrowed.ts',
    ['const kept = membersOf(params, row.params);', 'const kept = new Map(params);'],
    SAID,
  ),
  sabotage(
    'names in _meta without a meaning go no further',
    'lib/mcp/meta.ts',
    ['return policy.meta.has(name) ? value : undefined;', 'return value;'],
    SAID,
  ),
  sabotage(
    'the server is not told in its words who the client is',
    'lib/mcp/meta.ts',
    ["told === undefined || how === 'pass'", "told === undefined || how !== 'x'"],
    SAID,
  ),
  sabotage(
    'what a client can do is in known words',
    'lib/mcp/offers.ts',
    ['left.set(name, partsOf(said, parts));', 'left.set(name, said);'],
    SAID,
  ),
  sabotage(
    'a cursor is one that the server gave',
    'lib/mcp/narrowed.ts',
    ['passing.wasGiven(`${method} ${name}`, value)', "value !== ''"],
    by(
      'test/forward/mcp-said.test.ts',
      'what the server did not give is refused as a parameter, with the id of the request',
    ),
  ),
  sabotage(
    'a stream is resumed where the server said',
    'lib/mcp/request.ts',
    ['session?.events.has(digestOf(resumedAt)) !== true', 'session === null'],
    by(
      'test/forward/mcp-sessions.test.ts',
      'the stream of a session resumes where it was cut, and is filtered as the answer would have been',
    ),
  ),
  sabotage(
    'ids of requests are ours',
    'lib/mcp/ids.ts',
    ['{ ...message, id: sent, params: left }', '{ ...message, params: left }'],
    by(
      'test/forward/mcp-said.test.ts',
      'ids and tokens are ours to the server, and its own to the agent',
    ),
  ),
  sabotage(
    'what ends something carries no new field',
    'lib/mcp/outgoing.ts',
    ['(!ends || shown(name, value))', "(!ends || name !== '')"],
    by(
      'test/forward/mcp-said.test.ts',
      'what ends something carries no field that the server was not shown before',
    ),
  ),
  sabotage(
    'errors to the server are in our words',
    'lib/mcp/narrowed.ts',
    ["['message', words ?? 'failed'],", "['message', error.get('message') ?? ''],"],
    by(
      'test/forward/mcp-said.test.ts',
      'answers to the server: errors in our words, results without what they do not have',
    ),
  ),
  sabotage(
    'a tool of which nothing is known writes',
    'lib/mcp/definitions.ts',
    ["{ state: 'unlisted', hazardous: true }", "{ state: 'unlisted', hazardous: false }"],
    by('test/forward/mcp-listing.test.ts', 'a server that does not tell has tools that write'),
  ),
  sabotage(
    'a tool that is not known is asked for before it is judged',
    'lib/forward/mcp-list.ts',
    ['if (tool === undefined || !tools.wanted(tool)) return', "if (tool !== '') return"],
    by(
      'test/forward/mcp-listing.test.ts',
      'a tool that its server calls destructive is no read, whoever never lists it',
    ),
  ),
  sabotage(
    'nothing is asked for what is denied anyway',
    'lib/forward/mcp-list.ts',
    ['if (!mayPass(HARMLESS) && !mayPass(HAZARDOUS)) return', "if (tool === '') return"],
    by(
      'test/forward/mcp-listing.test.ts',
      'what is denied whatever the server says reaches it in no way',
    ),
  ),
  sabotage(
    'an elicitation stands under its own names',
    'lib/mcp/elicitation.ts',
    ['misspelt(value, deciding) === undefined', 'misspelt(value, deciding) !== null'],
    by(
      'test/forward/mcp-offers.test.ts',
      'an elicitation by URL is held to its hosts however its members are spelt',
    ),
  ),
  sabotage(
    'what a server can do is cut to policy',
    'lib/mcp/offers.ts',
    [
      'if (!mayAsk(destination, method)) left.delete(name);',
      "if (method === '') left.delete(name);",
    ],
    by('test/forward/mcp-offers.test.ts', 'what a server can do is cut to what policy allows'),
  ),
  sabotage(
    'a rule about HTTP is never about an endpoint of MCP',
    'lib/policy/protocols/mcp.ts',
    ['|| reachesEndpoint(endpoints, http.path))', "|| http.path === '')"],
    by(
      'test/forward/mcp-beside.test.ts',
      'in report mode too nothing that could be a message goes beside the endpoint',
    ),
  ),
  sabotage(
    'an endpoint is one in every letter case',
    'lib/net/path-spellings.ts',
    ['place.toUpperCase().toLowerCase()', 'place'],
    by('test/forward/mcp-beside.test.ts', 'spellings of an endpoint'),
  ),
  sabotage(
    'what looks like a message needs a rule that says so',
    'lib/policy/protocols/mcp.ts',
    ['!rule.http.mcpLike && isMcpLike(request)', "!rule.http.mcpLike && rule.name === ''"],
    by(
      'test/forward/mcp-beside.test.ts',
      'a rule about HTTP serves what lies beside the endpoint, and nothing that could be a message',
    ),
  ),
  sabotage(
    'report mode lets no message through beside the endpoint',
    'lib/policy/protocols/mcp.ts',
    [
      'return refused && isMcpLike(http)',
      "return verdict.code === 'no-rule-matched' && isMcpLike(http)",
    ],
    by(
      'test/forward/mcp-beside.test.ts',
      'in report mode too nothing that could be a message goes beside the endpoint',
    ),
  ),
  sabotage(
    'the words of an error page are bounded',
    'lib/forward/mcp-reply.ts',
    ['total < MAX_ERROR;', 'total >= 0;'],
    by(
      'test/forward/mcp-errors.test.ts',
      'the words of an error are bounded, and what is no text is not told',
    ),
  ),
  sabotage(
    'a method with an id where it has none is not that method',
    'lib/mcp/subject.ts',
    ['if (row.kind !== kind || elsewhere)', 'if (elsewhere)'],
    by(
      'test/forward/mcp.test.ts',
      'unknown methods, answers that nobody waits for and notifications that are none are denied (M10)',
    ),
  ),
  sabotage(
    'a tool that changed is denied',
    'lib/policy/protocols/mcp.ts',
    ["if (state !== 'changed' &&", "if (state !== 'pinned!' as typeof state &&"],
    by(
      'test/forward/mcp-replies.test.ts',
      'a tool whose definition changed is not listed and not called until it is approved (M9)',
    ),
  ),
  sabotage(
    'lists hold what is allowed',
    'lib/policy/protocols/mcp-lists.ts',
    ['shown && !rules.some(', '!shown || !rules.some('],
    LISTS,
  ),
  sabotage(
    'a task is shown its own tools',
    'lib/mcp/lists.ts',
    [
      "return isShown(c, tool, isHazardous(entry)) ? undefined : 'not allowed';",
      'return undefined;',
    ],
    by(
      'test/forward/mcp-tasks.test.ts',
      'a task is shown and may call what it was granted; its sessions are its own (M13)',
    ),
  ),
  sabotage(
    'what a server says of its tool raises the action',
    'lib/policy/protocols/mcp-rules.ts',
    ["return action === 'read' && hazardous ? 'write' : action;", 'return action;'],
    by('test/forward/mcp-replies.test.ts', 'annotations raise the action and never lower it'),
  ),
  sabotage(
    'a session belongs to the way in and the identity it was opened with',
    'lib/mcp/sessions.ts',
    ['|| !sameOwner(session.owner, owner))', '|| owner.entry === "")'],
    SESSIONS,
  ),
  sabotage(
    'a request has one answer',
    'lib/mcp/reply.ts',
    [
      '  if (meant === undefined || meant.over) return undefined;\n',
      '  if (meant === undefined) return undefined;\n',
    ],
    by(
      'test/forward/mcp-sessions.test.ts',
      'a request has one answer: what the server says to it after that is withheld',
    ),
  ),
  sabotage(
    'servers ask only for what the policy names',
    'lib/mcp/reply.ts',
    ["if (method !== 'ping' && !policy.serverRequests.has(method))", "if (method === '')"],
    by(
      'test/forward/mcp-sessions.test.ts',
      'requests by the server reach the agent only where they are allowed, and so do its answers (M10)',
    ),
  ),
  sabotage(
    'results ask only for what the policy names',
    'lib/mcp/elicitation.ts',
    [
      "if (typeof method !== 'string' || !policy.serverRequests.has(method))",
      "if (typeof method !== 'string')",
    ],
    by(
      'test/forward/mcp-replies.test.ts',
      '2026-07-28: what a result asks for is held to the same list, and result types are known',
    ),
  ),
  sabotage(
    'an answer is to what was asked',
    'lib/mcp/reply.ts',
    [
      'return asked !== undefined && idKey(asked.sent) === idKey(id);',
      'return asked !== undefined;',
    ],
    by('test/forward/mcp-replies.test.ts', 'what is no answer to what was asked is not passed on'),
  ),
  sabotage(
    'users are sent to named hosts alone',
    'lib/mcp/elicitation.ts',
    [
      "kind === 'wildcard' ? asked.endsWith(`.${host}`) : asked === host",
      "kind === 'wildcard' || asked.length > host.length - 99",
    ],
    by(
      'test/forward/mcp-replies.test.ts',
      '2026-07-28: what a result asks for is held to the same list, and result types are known',
    ),
  ),
  sabotage(
    'an event has a bound',
    'lib/mcp/sse.ts',
    ['if (this.#bytes > this.#most) throw', 'if (this.#bytes < 0) throw'],
    by('test/mcp/sse.test.ts', 'bounds: one event, its comments and its ignored fields (M12)'),
  ),
  sabotage(
    'messages before a decision have a bound together',
    'lib/forward/whole-body.ts',
    ['if (held.bytes > held.most)', 'if (held.bytes < 0)'],
    by(
      'test/forward/mcp-bodies.test.ts',
      'what agents may have held before anything is decided has a bound',
    ),
  ),
  sabotage(
    'an agent that goes away cancels its message',
    'lib/forward/mcp-message.ts',
    ['    connection.untilEnd();\n', ''],
    by(
      'test/forward/mcp-streams.test.ts',
      'an agent that goes away cancels what it asked for, though the stream is silent',
    ),
  ),
  sabotage(
    'no argument is recorded',
    'lib/exchange/evidence.ts',
    ['    argsDigest,\n  };', '    argsDigest: JSON.stringify([...message.args]),\n  };'],
    by(
      'test/forward/mcp.test.ts',
      'an allowed tool call arrives as it was judged, an other one is told in JSON-RPC and never arrives',
    ),
  ),
]);
