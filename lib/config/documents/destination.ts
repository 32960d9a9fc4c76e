/**
 * `spec` of a Destination document. A key of the design that is not built yet is named at the end
 * of its map and refused.
 */
import { filePath } from '../../schema/file-path.ts';
import {
  choice,
  defaulted,
  flag,
  integer,
  list,
  optional,
  record,
  required,
} from '../../schema/decode.ts';
import {
  cidr,
  hostPattern,
  listenAddress,
  peer,
  serverName,
  upstreamAddress,
  upstreamHost,
} from './addresses.ts';
import { UNSAFE_NON_LOOPBACK, task } from './common.ts';
import { credentials } from './credentials.ts';
import { headers } from './headers.ts';
import { NAMES, RULE_KEYS, SETTINGS } from './protocols.ts';
import { LIMITED, NAMED } from './rule.ts';
import { action, condition, dataClass, duration, rate, size } from './scalars.ts';
import { via } from './via.ts';

const rule = record({ ...NAMED, ...RULE_KEYS, ...LIMITED }, ['a2a', 'require', 'shadow']);

const tls = record(
  {
    mode: required(
      choice(['mtls', 'web-mtls', 'web', 'passthrough', 'plaintext']),
      'mtls: our SVID, and the peer proves a SPIFFE ID of `peers`. web-mtls: our SVID, and ' +
        'the peer proves its DNS name. web: no certificate of ours. passthrough: the agent ' +
        'speaks TLS itself. plaintext: none.',
    ),
    peers: optional(
      list(peer, { least: 1, most: 1000, unique: ({ text }) => text }),
      'Mode mtls alone, and needed there: who may answer. Globs by whole path segment (`*` ' +
        'one, `**` at the end one or more), never in the trust domain; all in one trust ' +
        'domain, whose bundle alone is trusted.',
    ),
    serverName: optional(
      serverName,
      'Sent as SNI, and verified in the web modes; the host that was asked for otherwise.',
    ),
    roots: optional(
      list(filePath, { least: 1, most: 100, unique: String }),
      'Web modes alone: PEM files whose certificates replace the roots that come with ' +
        'Node; relative to the folder of the document, read when it is loaded.',
    ),
    insecure: optional(flag(), 'Mode plaintext alone: true lets it reach more than loopback.'),
    intercept: defaulted(
      flag(),
      false,
      "true: a CONNECT is served by ending the agent's TLS here, so that the requests " +
        'inside can be judged. Its hosts must lie inside `intercept.domains` of the Sidecar, ' +
        'and the agent must trust the interception CA (`chaperone trust`).',
    ),
    ech: optional(
      choice(['pass', 'deny']),
      'Mode passthrough alone, `pass` where it is not written. Browsers send an ' +
        'encrypted_client_hello extension in every ClientHello; only the server can tell a ' +
        'random one from one that hides a second name. The outer name must be the host of ' +
        'the CONNECT either way. `deny` refuses such ClientHellos, and with them ' +
        'current browsers.',
    ),
  },
  ['minVersion', 'ciphers'],
);

export const destinationSpec = record(
  {
    hosts: required(
      list(hostPattern, { least: 1, most: 10_000, unique: ({ text }) => text }),
      'What the agent asks for: exact hosts, IP addresses, or `*.` before a name of two ' +
        'labels or more, which stands for one or more labels and never for the name itself. ' +
        'The most specific pattern that has the port wins. Wildcards over a top-level ' +
        'domain, and over a short built-in list of suffixes under which strangers can ' +
        'register names, are refused; that list is not the Public Suffix List.',
    ),
    ports: required(
      list(integer(1, 65535), { least: 1, most: 1000, unique: String }),
      'Ports that the agent asks for.',
    ),
    listen: optional(listenAddress, 'A local listener for this destination alone.'),
    unsafeNonLoopback: defaulted(flag(), false, UNSAFE_NON_LOOPBACK),
    protocol: defaulted(
      choice(NAMES, ['a2a', 'postgres']),
      'http',
      'http is judged per request, grpc per call (docs/grpc.md), mcp per message ' +
        '(docs/mcp.md), tcp per connection.',
    ),
    upstream: optional(
      record({
        address: optional(
          upstreamAddress,
          'Where it really is: a name, which may use the search list, or an IP address. ' +
            'Without it: the host and port that were asked for.',
        ),
        host: optional(
          upstreamHost,
          'Protocols http, mcp and grpc: the Host that the upstream is sent, where it ' +
            'wants another one than the agent asks for, as servers do that check it. What is ' +
            'judged, recorded and verified stays the host that was asked for.',
        ),
        cidrs: defaulted(
          list(cidr, { most: 100, unique: String }),
          [],
          'Private ranges in which its addresses may lie. Public addresses always may; a ' +
            'private one may without a range where mode is mtls and the address is written.',
        ),
        http: optional(
          choice(['h1', 'h2']),
          'Protocol http alone: which HTTP the upstream is spoken to in. h1 (without it): ' +
            'HTTP/1.1. h2: HTTP/2, which it must choose by ALPN; in mode plaintext by prior ' +
            'knowledge. Protocol grpc is always h2.',
        ),
      }),
      'Where the destination really is.',
    ),
    tls: required(tls, 'How the way to the upstream is protected.'),
    via: optional(
      via,
      'The HTTP proxy through which it is reached, by CONNECT: see ' +
        '[corporate-proxy.md](../corporate-proxy.md). The proxy resolves the name, so that ' +
        'only its own address is judged. Without it: the default of the Sidecar, and none ' +
        'for loopback upstreams and those with `cidrs`.',
    ),
    dataClass: optional(
      dataClass,
      'How sensitive its data is: one of `dataClasses` of the Sidecar, the highest of them ' +
        'without this key; stands in the records.',
    ),
    task: optional(
      task,
      'required: each call belongs to a live task that was granted it. optional: calls ' +
        'without a task are judged by the rules alone; one that names a task is held to its ' +
        'grant too. What `defaults.task` of the Sidecar says otherwise, and that is required.',
    ),
    action: defaulted(
      action,
      'admin',
      'What a tunnel or a raw connection counts as, since nobody sees what is done in it: ' +
        'protocol tcp and mode passthrough.',
    ),
    when: optional(
      condition,
      'Protocol tcp and mode passthrough alone: what must hold for a connection, in CEL: ' +
        'see [conditions.md](conditions.md). Where it cannot be evaluated the ' +
        'connection is denied.',
    ),
    ...SETTINGS,
    rules: defaulted(
      list(rule, { most: 1000, unique: ({ name: unique }) => unique }),
      [],
      'Without rules everything is denied. None for protocol tcp and mode passthrough.',
    ),
    paths: optional(
      record({
        encodedSlash: defaulted(
          choice(['keep', 'deny']),
          'deny',
          'keep: `%2F` is part of a name, as in scoped packages of npm (`@scope%2Fname`) ' +
            'and projects of GitLab; allow rules see it as it is, deny rules also as `/`. ' +
            'Escapes that become a slash or a dot when undone twice are then refused.',
        ),
        emptySegments: defaulted(
          choice(['keep', 'deny']),
          'deny',
          'keep: `//` is sent as it is; allow rules see it as it is, deny rules also as `/`.',
        ),
      }),
      'What is kept in a path although servers read it in different ways: see ' +
        '[policy.md](../policy.md#paths). Dot segments are refused always.',
    ),
    headers: optional(
      headers,
      'Which header fields of a request pass, in what is judged and in what is sent: see ' +
        '[policy.md](../policy.md#header-fields).',
    ),
    credentials: optional(credentials, 'What is added to each request. The agent never holds it.'),
    timeouts: defaulted(
      record({
        connect: defaulted(duration('5s'), '5s', 'Resolving, connecting and TLS together.'),
        headers: defaulted(
          duration('10m'),
          '10m',
          'From the sent request to the head of the final response, over all attempts and ' +
            'interim responses.',
        ),
        message: defaulted(
          duration('30s'),
          '30s',
          'Protocol mcp: until a message of the agent is whole, since it is judged before ' +
            'anything is sent.',
        ),
        idle: defaulted(
          duration('5m'),
          '5m',
          'Without a byte of content in either direction; a request body may pause as ' +
            'long. A stream of events (`text/event-stream`) is ended in order.',
        ),
        total: defaulted(
          duration('1h'),
          '1h',
          'One exchange or tunnel in all. A stream of events is ended in order.',
        ),
        keepAlive: optional(
          duration('15s'),
          'Protocols http and mcp: in a stream of events that is silent for so long the ' +
            'agent is sent a comment, between two events. It does not count for `idle`. ' +
            'Without it: none.',
        ),
      }),
      {},
      'After each of them but `keepAlive` the exchange is ended.',
    ),
    limits: defaulted(
      record({
        concurrent: defaulted(
          integer(1, 100_000),
          64,
          'Exchanges of each agent at one time; more are refused with 503.',
        ),
        rate: optional(
          rate,
          'Exchanges in a second, minute or hour (`50/s`, `600/m`, `1000/h`); more are ' +
            'refused with 503 and Retry-After. Counted in memory, by each sidecar for ' +
            'itself. Without it: no limit.',
        ),
        burst: optional(
          integer(1, 1_000_000),
          'With `rate` alone: how many may come at once after a rest. Without it: the ' +
            'number of the rate.',
        ),
        body: optional(
          size('1MiB'),
          'Bytes of a request body; a longer one is refused with 413. Without it: no ' +
            'limit, bodies are streamed.',
        ),
        response: optional(
          size('10MiB'),
          "Bytes of an answer's body over HTTP; a longer one is 502 where its length is " +
            'said beforehand, and cut at the limit otherwise. Without it: no limit, bodies ' +
            'are streamed.',
        ),
      }),
      {},
      'What one destination may take.',
    ),
    mode: defaulted(
      choice(['enforce', 'report']),
      'enforce',
      'report: what the rules deny is let through and recorded as `reported`. It relaxes ' +
        'rules alone, never entry points, parsing, addresses or TLS.',
    ),
  },
  ['retries'],
);
