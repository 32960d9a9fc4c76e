import t from 'tap';
import { DESTINATION_CHECKS } from '../../lib/config/checks/destination.ts';
import { destination, problemsOf, SIDECAR } from './documents.ts';

const PEERS = "peers: ['spiffe://example.org/crm']";
const MTLS = `  tls: { mode: mtls, ${PEERS} }\n`;
const RULES = '  rules: [{ name: a, effect: deny, http: {} }]';

/** Name of the check, a spec that it refuses, what it says, and a spec next to it that passes. */
const CASES: readonly (readonly [string, string, RegExp, string])[] = [
  [
    'via-is-judged-elsewhere',
    `${MTLS}  upstream: { address: 'crm.example:443', cidrs: [10.0.0.0/8] }\n  via: { ` +
      `proxy: 'http://p.corp:3128' }`,
    /spec\.upstream\.cidrs: the proxy of via resolves the name/,
    `${MTLS}  upstream: { address: 'crm.example:443', cidrs: [10.0.0.0/8] }\n  via: { ` +
      'direct: true }',
  ],
  [
    'via-is-judged-elsewhere',
    `${MTLS}  upstream: { address: '127.0.0.1:443' }\n  via: { proxy: 'http://p.corp:3128' }`,
    /spec\.upstream\.address: a loopback address behind a proxy is the machine of the proxy/,
    `${MTLS}  upstream: { address: '127.0.0.1:443' }\n  via: { direct: true }`,
  ],
  [
    'burst-needs-rate',
    `${MTLS}  limits: { burst: 5 }`,
    /spec\.limits\.burst: there is no rate that it could be a burst of/,
    `${MTLS}  limits: { burst: 5, rate: 50/s }`,
  ],
  [
    'burst-needs-rate',
    `${MTLS}  rules: [{ name: a, effect: allow, action: read, http: {}, limits: { burst: 5 } }]`,
    /spec\.rules\[0\]\.limits\.burst: there is no rate/,
    `${MTLS}  rules: [{ name: a, effect: allow, action: read, http: {}, limits: { burst: ` +
      '5, rate: 1/m } }]',
  ],
  [
    'paths-need-requests',
    '  protocol: grpc\n  paths: { encodedSlash: keep }',
    /spec\.paths: there are no paths to be judged; remove it/,
    '  paths: { encodedSlash: keep }',
  ],
  [
    'patterns-fit-the-paths',
    '  rules: [{ name: a, effect: allow, action: read, http: { paths: [/projects/a%2Fb] } }]',
    /spec\.rules\[0\]\.http\.paths\[0\]: no path has an escaped slash here: it would never match; write paths: /,
    '  paths: { encodedSlash: keep }\n  rules: [{ name: a, effect: allow, action: read, ' +
      'http: { paths: [/projects/a%2Fb] } }]',
  ],
  [
    'patterns-fit-the-paths',
    '  rules: [{ name: a, effect: deny, http: { paths: [/a, /a//b] } }]',
    /spec\.rules\[0\]\.http\.paths\[1\]: no path has an empty segment here: it would never match; write paths: /,
    '  paths: { emptySegments: keep }\n  rules: [{ name: a, effect: deny, http: { paths: ' +
      '[/a, /a//b] } }]',
  ],
  [
    'headers-need-requests',
    '  protocol: tcp\n  headers: { strip: [x-a] }',
    /spec\.headers: its header fields are not seen here; remove it/,
    '  headers: { strip: [x-a] }',
  ],
  [
    'limits-of-allow-rules',
    `${MTLS}  rules: [{ name: a, effect: deny, http: {}, limits: { rate: 1/m } }]`,
    /spec\.rules\[0\]\.limits: a deny rule lets nothing through; remove it/,
    `${MTLS}  rules: [{ name: a, effect: deny, http: {} }]`,
  ],
  [
    'credentials-need-tls',
    '  tls: { mode: plaintext, insecure: true }\n  credentials: { jwtSvid: { audience: crm } }',
    /spec\.credentials: a bearer token cannot be added in protocol http and mode plaintext/,
    '  tls: { mode: web }\n  credentials: { jwtSvid: { audience: crm } }',
  ],
  [
    'credentials-need-tls',
    `${MTLS}  protocol: tcp\n  credentials: { jwtSvid: { audience: crm } }`,
    /a bearer token cannot be added in protocol tcp and mode mtls/,
    `${MTLS}  credentials: { jwtSvid: { audience: crm } }`,
  ],
  [
    'rules-fit-the-protocol',
    `${MTLS}  rules: [{ name: a, effect: deny }]`,
    /spec\.rules\[0\]: a rule of protocol http says nothing under http; write http: \{\} for all/,
    `${MTLS}${RULES}`,
  ],
  [
    'rules-fit-the-protocol',
    `${MTLS}  protocol: grpc\n  rules: [{ name: a, effect: deny }]`,
    /spec\.rules\[0\]: a rule of protocol grpc says nothing under grpc/,
    `${MTLS}  protocol: grpc\n  rules: [{ name: a, effect: deny, grpc: {} }]`,
  ],
  [
    'rules-fit-the-protocol',
    `${MTLS}  rules: [{ name: a, effect: deny, http: {}, grpc: {} }]`,
    /spec\.rules\[0\]\.grpc: protocol http has no grpc to be seen; remove it/,
    `${MTLS}${RULES}`,
  ],
  [
    'upstream-http-is-for-http',
    `${MTLS}  protocol: grpc\n  upstream: { http: h1 }`,
    /spec\.upstream\.http: protocol grpc is always HTTP\/2/,
    `${MTLS}  upstream: { http: h2 }`,
  ],
  [
    'no-websocket-over-h2',
    `${MTLS}  upstream: { http: h2 }\n  rules: [{ name: a, effect: allow, action: read, ` +
      'http: { websocket: true } }]',
    /spec\.rules\[0\]\.http\.websocket: no WebSocket is opened over HTTP\/2/,
    `${MTLS}  upstream: { http: h1 }\n  rules: [{ name: a, effect: allow, action: read, ` +
      'http: { websocket: true } }]',
  ],
  [
    'grpc-is-not-passthrough',
    '  tls: { mode: passthrough }\n  protocol: grpc',
    /spec\.tls\.mode: in mode passthrough the calls are inside the TLS of the agent/,
    '  tls: { mode: web }\n  protocol: grpc',
  ],
  [
    'mtls-needs-peers',
    '  tls: { mode: mtls }',
    /spec\.tls: mode mtls has no peers: any workload/,
    MTLS,
  ],
  [
    'peers-need-mtls',
    `  tls: { mode: web, ${PEERS} }`,
    /spec\.tls\.peers: in mode web the upstream proves no SPIFFE ID/,
    '  tls: { mode: web }',
  ],
  [
    'peers-need-mtls',
    `  tls: { mode: web-mtls, ${PEERS} }`,
    /tls\.peers: in mode web-mtls/,
    '  tls: { mode: web-mtls }',
  ],
  [
    'peers-need-mtls',
    `  tls: { mode: passthrough, ${PEERS} }`,
    /tls\.peers: in mode passthrough/,
    '  tls: { mode: passthrough }',
  ],
  [
    'peers-share-a-trust-domain',
    "  tls: { mode: mtls, peers: ['spiffe://example.org/a', 'spiffe://other.org/b'] }",
    /spec\.tls\.peers\[1\]: the peers are of two trust domains, example\.org and other\.org; write one destination/,
    "  tls: { mode: mtls, peers: ['spiffe://example.org/a', 'spiffe://example.org/b/**'] }",
  ],
  [
    'ech-needs-passthrough',
    '  tls: { mode: web, ech: deny }',
    /spec\.tls\.ech: in mode web no ClientHello of the agent goes on/,
    '  tls: { mode: passthrough, ech: deny }',
  ],
  [
    'intercept-needs-requests',
    '  tls: { mode: passthrough, intercept: true }',
    /spec\.tls\.intercept: in mode passthrough the TLS of the agent is left alone/,
    '  tls: { mode: passthrough, intercept: false }',
  ],
  [
    'intercept-needs-requests',
    `  tls: { mode: mtls, ${PEERS}, intercept: true }\n  protocol: tcp`,
    /protocol tcp has no requests to look into/,
    `  tls: { mode: mtls, ${PEERS}, intercept: false }\n  protocol: tcp`,
  ],
  [
    'roots-need-a-web-mode',
    `  tls: { mode: mtls, ${PEERS}, roots: [a.pem] }`,
    /mode mtls does not read roots: it trusts the bundle/,
    MTLS,
  ],
  [
    'roots-need-a-web-mode',
    '  tls: { mode: passthrough, roots: [a.pem] }',
    /mode passthrough does not read roots;/,
    '  tls: { mode: passthrough }',
  ],
  [
    'server-name-needs-our-tls',
    '  tls: { mode: passthrough, serverName: a.b }',
    /in mode passthrough no TLS starts here/,
    '  tls: { mode: web, serverName: a.b }',
  ],
  [
    'insecure-needs-plaintext',
    '  tls: { mode: web, insecure: true }',
    /mode web is never insecure/,
    '  tls: { mode: web }',
  ],
  [
    'plaintext-stays-on-loopback',
    '  tls: { mode: plaintext }',
    /spec\.tls\.mode: plaintext to an upstream that is not a loopback/,
    '  tls: { mode: plaintext, insecure: true }',
  ],
  [
    'plaintext-stays-on-loopback',
    '  tls: { mode: plaintext }\n  upstream: { address: localhost:8080 }',
    /write the upstream as 127\.0\.0\.1:port/,
    '  tls: { mode: plaintext }\n  upstream: { address: 127.0.0.1:8080 }',
  ],
  [
    'plaintext-stays-on-loopback',
    "  tls: { mode: plaintext }\n  hosts: ['127.0.0.1', crm.internal]",
    /not a loopback address/,
    "  tls: { mode: plaintext }\n  hosts: ['127.0.0.1', '[::1]']",
  ],
  [
    'passthrough-has-no-rules',
    `  tls: { mode: passthrough }\n${RULES}`,
    /spec\.rules: in mode passthrough .* rules could not be enforced/,
    '  tls: { mode: passthrough }',
  ],
  [
    'when-is-for-connections',
    "  when: 'request.port == 80'",
    /spec\.when: its requests are judged by rules; write when on a rule/,
    "  protocol: tcp\n  when: 'request.port == 80'",
  ],
  [
    'tcp-has-no-rules',
    `  protocol: tcp\n${RULES}`,
    /spec\.rules: protocol tcp is not HTTP/,
    '  protocol: tcp',
  ],
  [
    'no-rules-no-report',
    '  protocol: tcp\n  mode: report',
    /spec\.mode: there are no requests to report on/,
    '  mode: report',
  ],
  [
    'allow-rules-have-an-action',
    '  rules: [{ name: a, effect: allow, http: {} }]',
    /spec\.rules\[0\]: an allow rule has no action/,
    '  rules: [{ name: a, effect: allow, action: read, http: {} }]',
  ],
  [
    'allow-rules-have-an-action',
    '  rules: [{ name: a, effect: deny, action: read, http: {} }]',
    /rules\[0\]\.action: a deny rule has an action/,
    RULES,
  ],
  [
    'websocket-is-allowed-only',
    '  rules: [{ name: a, effect: deny, http: { websocket: true } }]',
    /a deny rule is about WebSocket anyway/,
    RULES,
  ],
  [
    'content-on-get-is-allowed-only',
    '  rules: [{ name: a, effect: deny, http: { contentOnGet: allow } }]',
    /a deny rule is about a GET with content anyway/,
    RULES,
  ],
  [
    'streaming-is-allowed-only',
    '  protocol: grpc\n  rules: [{ name: a, effect: deny, grpc: { streaming: true } }]',
    /a deny rule is about streaming calls anyway/,
    RULES,
  ],
  [
    'listen-needs-a-destination-to-stand-for',
    '  protocol: tcp\n  listen: 127.0.0.1:9001',
    /spec\.listen: a connection does not say where it wants to go; write upstream/,
    '  protocol: tcp\n  listen: 127.0.0.1:9001\n  upstream: { address: a.b:80 }',
  ],
  [
    'listen-needs-a-destination-to-stand-for',
    '  protocol: tcp\n  listen: 127.0.0.1:9001\n  upstream: { address: a.b:80 }\n  hosts: ' +
      "['*.example.com']",
    /spec\.hosts: a connection does not say which host is meant/,
    "  listen: 127.0.0.1:9001\n  hosts: ['*.example.com']",
  ],
  [
    'mcp-has-its-settings',
    `${MTLS}  protocol: mcp`,
    /spec\.protocol: protocol mcp does not say how the server is spoken to; write mcp: \{ endpoints: \[\/mcp\] \}/,
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: allow, ` +
      'action: read, mcp: { tools: [x] } }]',
  ],
  [
    'settings-fit-the-protocol',
    `${MTLS}  mcp: { path: /mcp }`,
    /spec\.mcp: protocol http has no messages of MCP/,
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }`,
  ],
  [
    'mcp-has-its-settings',
    '  protocol: mcp\n  mcp: { path: /mcp }\n  tls: { mode: passthrough }',
    /spec\.tls\.mode: in mode passthrough the messages are inside the TLS of the agent/,
    '  protocol: mcp\n  mcp: { path: /mcp }\n  tls: { mode: web }',
  ],
  [
    'mcp-has-endpoints',
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp, endpoints: [/mcp] }`,
    /spec\.mcp: path and endpoints say the same thing twice; write endpoints: \[\/mcp\]/,
    `${MTLS}  protocol: mcp\n  mcp: { endpoints: [/mcp, /v2/mcp] }`,
  ],
  [
    'mcp-has-endpoints',
    `${MTLS}  protocol: mcp\n  mcp: {}`,
    /spec\.mcp: no path takes messages; write endpoints: \[\/mcp\]/,
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }`,
  ],
  [
    'http-beside-the-endpoints',
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: allow, ` +
      'action: read, http: { paths: [/health, /MCP/**] } }]',
    /spec\.rules\[0\]\.http\.paths\[1\]: a path at an endpoint of MCP, or below it, is for messages alone/,
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: allow, ` +
      `action: read, http: { paths: [/health, '/.well-known/**'] }, when: 'request.method ` +
      `== "GET"' }]`,
  ],
  [
    'http-beside-the-endpoints',
    `${MTLS}  protocol: mcp\n  mcp: { path: / }\n  rules: [{ name: a, effect: allow, ` +
      'action: read, http: {} }]',
    /spec\.rules\[0\]\.http: a path at an endpoint of MCP, or below it, is for messages alone/,
    `${MTLS}  protocol: mcp\n  mcp: { path: / }`,
  ],
  [
    'mcp-like-is-for-mcp',
    `${MTLS}  rules: [{ name: a, effect: allow, action: read, http: { mcpLike: allow } }]`,
    /spec\.rules\[0\]\.http\.mcpLike: protocol http has no endpoints; remove it/,
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: allow, ` +
      'action: read, http: { mcpLike: allow } }]',
  ],
  [
    'upstream-host-is-for-requests',
    `${MTLS}  protocol: tcp\n  upstream: { host: 'localhost:3000' }`,
    /spec\.upstream\.host: no requests of ours are sent there; remove it/,
    `${MTLS}  protocol: grpc\n  upstream: { host: 'localhost:3000' }`,
  ],
  [
    'mcp-like-is-allowed-only',
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: deny, ` +
      'http: { mcpLike: deny } }]',
    /spec\.rules\[0\]\.http\.mcpLike: a deny rule is about all requests anyway; remove it/,
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: deny, http: {} }]`,
  ],
  [
    'messages-or-requests',
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: deny, ` +
      'http: {}, mcp: { tools: [x] } }]',
    /spec\.rules\[0\]\.http: a rule is about messages or about requests beside them, not about both/,
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: deny, http: {} }]`,
  ],
  [
    'rules-fit-the-protocol',
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: deny, mcp: {} }]`,
    /spec\.rules\[0\]: a rule of protocol mcp says nothing under mcp; write mcp: \{ tools: \[name\] \}/,
    `${MTLS}  protocol: mcp\n  mcp: { path: /mcp }\n  rules: [{ name: a, effect: deny, ` +
      `mcp: { resources: ['ticket://secret/**'] } }]`,
  ],
  [
    'rules-fit-the-protocol',
    `${MTLS}  rules: [{ name: a, effect: deny, http: {}, mcp: { tools: ['*'] } }]`,
    /spec\.rules\[0\]\.mcp: protocol http has no mcp to be seen/,
    `${MTLS}  rules: [{ name: a, effect: deny, http: {} }]`,
  ],
  [
    'rules-fit-the-protocol',
    `${MTLS}  rules: [{ name: a, effect: deny }]`,
    /spec\.rules\[0\]: a rule of protocol http says nothing under http; write http: \{\}/,
    `${MTLS}  rules: [{ name: a, effect: deny, http: {} }]`,
  ],
  [
    'no-listen-for-passthrough',
    '  tls: { mode: passthrough }\n  listen: 127.0.0.1:9001',
    /spec\.listen: mode passthrough is reached by CONNECT alone/,
    '  tls: { mode: passthrough }',
  ],
  [
    'listen-on-loopback',
    '  listen: 0.0.0.0:9001',
    /spec\.listen: whoever reaches this address acts with the identity of this sidecar; listen on 127\.0\.0\.1/,
    '  listen: 0.0.0.0:9001\n  unsafeNonLoopback: true',
  ],
  [
    'listen-on-loopback',
    "  listen: '10.0.0.1:9001'",
    /whoever reaches this address/,
    "  listen: '[::1]:9001'",
  ],
  [
    'upstream-may-be-dialled',
    `${MTLS}  upstream: { address: 169.254.169.254:80 }`,
    /upstream\.address: 169\.254\.169\.254 may not be dialled: metadata services/,
    `${MTLS}  upstream: { address: 10.0.0.5:80 }`,
  ],
  [
    'upstream-may-be-dialled',
    `${MTLS}  upstream: { address: '[fe80::1]:80' }`,
    /link-local/,
    `${MTLS}  upstream: { address: '[fd12::1]:80' }`,
  ],
  [
    'upstream-may-be-dialled',
    `${MTLS}  upstream: { address: '[::ffff:10.0.0.1]:80' }`,
    /carry an IPv4 address/,
    `${MTLS}  upstream: { address: '127.0.0.1:80' }`,
  ],
  [
    'upstream-may-be-dialled',
    '  tls: { mode: web }\n  upstream: { address: 10.0.0.5:80 }',
    /10\.0\.0\.5 may not be dialled: private .*write upstream: \{ cidrs: \[10\.0\.0\.5\/32\] \}/,
    '  tls: { mode: web }\n  upstream: { address: 10.0.0.5:80, cidrs: [10.0.0.0/24] }',
  ],
  [
    'upstream-may-be-dialled',
    "  hosts: [a.b.c, '10.0.0.5']",
    /spec\.hosts\[1\]: 10\.0\.0\.5 may not be dialled/,
    "  hosts: ['10.0.0.5']\n  upstream: { cidrs: [10.0.0.5/32] }",
  ],
];

for (const [name, wrong, message, right] of CASES) {
  t.test(`${name}: ${wrong.trim().replace(/\s+/g, ' ')}`, async (t) => {
    const problems = await problemsOf(t, SIDECAR, destination(wrong));
    t.equal(problems.length, 1, problems.join('\n'));
    t.match(problems[0], message);
    t.match(problems[0], /^c\.yaml:\d+:\d+ spec\.[^:]+: .*; \S/, 'place, key, problem and fix');
    t.same(
      await problemsOf(t, SIDECAR, destination(right.replace(/\n$/, ''))),
      [],
      `passes: ${right}`,
    );
  });
}

t.test('every check has a case here, and a sentence', async (t) => {
  t.same(
    [...new Set(CASES.map(([name]) => name))].sort(),
    DESTINATION_CHECKS.map(({ name }) => name).sort(),
  );
  for (const { name, doc } of DESTINATION_CHECKS) t.match(doc, /^[A-Z`].{20,}\.$/, name);
});
