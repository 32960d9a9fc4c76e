/**
 * What a Destination of protocol mcp says: its server (`spec.mcp`) and what a rule is about (`mcp`
 * of a rule).
 */
import { Fault } from '../../base/fault.ts';
import { quote } from '../../net/host.ts';
import { canonicalTarget } from '../../net/path.ts';
import { parseResourcePattern } from '../../net/resource.ts';
import { MCP_VERSIONS, NAME, NAMEABLE, SERVER_REQUESTS } from '../../policy/model/mcp-methods.ts';
import { EVERY } from '../../policy/model/permission.ts';
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
import type { Infer } from '../../schema/schema.ts';
import { hostPattern } from './addresses.ts';
import type { HttpRules } from './http.ts';
import { size } from './scalars.ts';

function bad(message: string, hint: string): Fault {
  return new Fault('config', message, { hint });
}

const toolName = text({
  is: 'the name of a tool',
  example: 'get_ticket',
  parse(value) {
    if (value === EVERY || NAME.test(value)) return value;
    throw bad(
      `${quote(value)} is not the name of a tool`,
      'write 1 to 128 of A-Z, a-z, 0-9, _, . and -; or "*" for every tool',
    );
  },
});

const promptName = text({
  is: 'the name of a prompt',
  example: 'summarise',
  parse(value) {
    if (/^[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?$/.test(value)) return value;
    throw bad(
      `${quote(value)} is not the name of a prompt`,
      'write up to 128 printable ASCII characters; "*" is every prompt',
    );
  },
});

const resourcePattern = text({
  is: 'a URI or a pattern of URIs',
  example: 'ticket://open/**',
  parse: parseResourcePattern,
});

const endpoint = text({
  is: 'a canonical path',
  example: '/mcp',
  parse(value) {
    const canonical =
      value.startsWith('/') && !/[?#*]/.test(value) ? canonicalTarget(value).path : undefined;
    if (canonical === value) return value;
    throw bad(`${quote(value)} is not a canonical path`, `write ${canonical ?? '/mcp'}`);
  },
});

const metaName = text({
  is: 'a name in _meta',
  example: 'com.example/tenant',
  parse(value) {
    if (
      /^(?:[A-Za-z][A-Za-z0-9.-]{0,126}\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,126}$/.test(value) &&
      !isReserved(value)
    )
      return value;
    throw bad(
      `${quote(value)} is no name in _meta that can be added`,
      'write a name with a prefix of your own, as com.example/tenant; names of the ' +
        'protocol pass anyway, or never',
    );
  },
});

/** Names of MCP itself, of progress and of traces. */
function isReserved(value: string): boolean {
  const name = value.toLowerCase();
  const [prefix = '', own] = name.split('/', 2);
  if (own === undefined) return ['progresstoken', 'traceparent'].includes(name);
  return /(?:^|\.)(?:modelcontextprotocol|mcp)(?:\.|$)/.test(prefix);
}

const digest = text({
  is: 'a digest',
  example: 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  parse(value) {
    const hex = /^sha256:([0-9a-f]{64})$/.exec(value)?.[1];
    if (hex !== undefined) return hex;
    throw bad(
      `${quote(value)} is not a digest`,
      'write sha256: and 64 hexadecimal digits in lower case',
    );
  },
});

export const mcpMatch = record({
  tools: optional(
    list(toolName, { least: 1, most: 1000, unique: String }),
    'Tools that may be called, and are listed: exact and case-sensitive names; `"*"` ' +
      'is every tool.',
  ),
  prompts: optional(
    list(promptName, { least: 1, most: 1000, unique: String }),
    'Prompts, in the same way.',
  ),
  resources: optional(
    list(resourcePattern, { least: 1, most: 1000, unique: ({ text: unique }) => unique }),
    'Resources: whole URIs, or `/**` at the end for a place and all below it. Deny rules ' +
      'see through letter case, a query, user information, `;…`, and dots and blanks at the ' +
      'end of a segment, escaped or not.',
  ),
  methods: optional(
    list(choice(NAMEABLE), { least: 1, most: 64, unique: String }),
    'Other methods. Handshake, ping, lists and streams need no rule where anything is ' +
      'allowed, and can be denied here.',
  ),
});

export const mcpSettings = record(
  {
    endpoints: optional(
      list(endpoint, { least: 1, most: 32, unique: String }),
      'Paths of the server that take messages, without a query. Everything else is ' +
        'refused, but for what rules with `http` allow beside them.',
    ),
    path: optional(endpoint, 'Short for `endpoints` with one path.'),
    versions: defaulted(
      list(choice(MCP_VERSIONS), { least: 1, unique: String }),
      MCP_VERSIONS,
      'Protocol versions that may be spoken.',
    ),
    serverRequests: defaulted(
      list(choice(SERVER_REQUESTS), { unique: String }),
      [],
      'What the server may ask of the agent. What is not listed is withheld, and taken out ' +
        'of the capabilities that the client offers.',
    ),
    elicitationHosts: defaulted(
      list(hostPattern, { most: 1000, unique: ({ text: unique }) => unique }),
      [],
      'Hosts to which an elicitation by URL may send the user, over https.',
    ),
    denial: defaulted(
      record({
        as: defaulted(
          choice(['error', 'result']),
          'error',
          'error: an error of JSON-RPC. result: for tools/call the result of a tool that ' +
            'failed, which models read; an error for the rest.',
        ),
        status: defaulted(
          choice(['200', '403']),
          '200',
          'HTTP status of a denied request (in quotes). Clients hand an error in a 200 to ' +
            'the agent, and take a 403 for a broken transport.',
        ),
        code: defaulted(
          integer(-31999, -1),
          -31403,
          'Code of the error, outside of what JSON-RPC and MCP keep for themselves.',
        ),
      }),
      {},
      'How a denied request is told.',
    ),
    pins: defaulted(
      list(
        record({
          tool: required(toolName, 'The name of the tool.'),
          digest: required(
            digest,
            'SHA-256 over the canonical JSON of its definition, as the admin socket lists it.',
          ),
        }),
        { most: 4096, unique: ({ tool }) => tool },
      ),
      [],
      'Definitions that tools must have. Others are pinned in memory when they are first listed.',
    ),
    clientInfo: defaulted(
      choice(['ours', 'pass']),
      'ours',
      'Who the server is told that the client is. ours: the sidecar. pass: what the client ' +
        'says of itself, in words of its own; its User-Agent then passes too.',
    ),
    meta: defaulted(
      list(metaName, { most: 100, unique: String }),
      [],
      'Names in `_meta` that pass besides those of the protocol, for servers that read ' +
        'them. Everything else in it goes no further.',
    ),
    message: defaulted(
      size('4MiB'),
      '4MiB',
      'Bytes of one message in either direction; also of one event of a stream.',
    ),
  },
  ['tasks'],
);

export interface McpSpec extends HttpRules {
  readonly tls: { readonly mode: string };
  readonly mcp: Infer<typeof mcpSettings> | undefined;
  readonly rules: readonly (HttpRules['rules'][number] & {
    readonly mcp: Infer<typeof mcpMatch> | undefined;
  })[];
}
