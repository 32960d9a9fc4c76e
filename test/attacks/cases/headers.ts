/**
 * Which fields cross: H1 to H9, F11, S14, T5, and the fields of T4. On CONNECT no field goes any
 * further, so most of them mean nothing there.
 */
import { rule } from '../../support/destination.ts';
import { type Attack, type Attempt, ELSEWHERE, type World, passed, refused } from '../case.ts';
import { CANARY } from '../entries/http1.ts';

const fields = (...lines: string[]): Attempt[] => lines.map((line) => ({ fields: [line] }));
const nothing = passed({ unsent: [/evil/i] });
/** HTTP/2 has no fields of connections (RFC 9113 section 8.2.2). */
const MALFORMED = refused('malformed');
/** Protocols that are offered and not served; a WebSocket is opened all the same. */
const DECLINED = /h2c|tls\/|evil|connect-udp|web socket|"websocket"|http2-settings/i;
const WEBSOCKETS = Object.fromEntries(
  [
    'forward, WebSocket',
    'listener, WebSocket',
    'intercepted, WebSocket',
    'CONNECT, cleartext WebSocket',
  ].map((name) => [name, passed({ unsent: [DECLINED] })]),
);
const TOKEN = `t0ken-${CANARY}`;

/** One request is allowed, and the condition wants a field that the upstream must then have. */
const dry = (when: string): World => ({
  destination: { rules: [rule('dry', 'allow', { when, websocket: true })] },
});

const FORBIDDING: World = {
  destination: {
    rules: [
      rule('forbid', 'deny', { when: 'request.header("x-forbid").size() > 0' }),
      rule('rest', 'allow', { websocket: true }),
    ],
  },
};

const CLAIMS = `X-Forwarded-Client-Cert X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto
    X-Forwarded-Anything Forwarded X-Real-IP True-Client-IP X-Client-IP X-SPIFFE-ID
    X-Spiffe-Trust-Domain X-Task-Id X-Client-Cert-Chain Client-Cert Client-Cert-Chain
    X-SSL-Client-Verify SSL-Client-Cert Chaperone-Decision Chaperone-Task X-Chaperone-Bypass
    X-Client-Cert X-Spiffe X-Task X-SSL Remote-User X-Remote-User X-Auth-Request-User
    X-Goog-Authenticated-User-Email X-Amzn-Oidc-Identity X-Ms-Client-Principal-Name
    X-Authorization CF-Connecting-IP Fastly-Client-IP X-Azure-ClientIP X-Originating-IP
    X-Remote-Addr X-Host X-Original-Host X-Envoy-External-Address X-ARR-ClientCert
    X-ProxyUser-IP WL-Proxy-Client-IP Proxy-Client-IP Remote-Groups Tailscale-User-Login
    Impersonate-User X-Consumer-Username X-Pomerium-Jwt-Assertion Cf-Access-Jwt-Assertion
    Fly-Client-IP X-Vercel-Forwarded-For X-Userinfo HTTP-X-Forwarded-For`.split(/\s+/);

/** The same families in names of their own. */
const MORE_CLAIMS =
  `X-User X-User-Id X-Email X-Groups X-Sso-User Teleport-Jwt-Assertion X-Webauth-User
    X-Authentik-Groups X-Credential-Identifier X-Envoy-Peer-Metadata L5d-Client-Id
    X-Amzn-Mtls-Clientcert-Subject X-Client-DN SSL-Client-S-DN X-Peer-Certificate X-Source-Ip
    True-Client-Address CloudFront-Viewer-Address X-Nf-Client-Connection-Ip
    X-Forwarded-Tls-Client-Cert Disguised-Host X-Scheme X-AppEngine-User-Email X-Azure-FDID
    X-Original-Forwarded-For X-Trusted-User X-Client-Spiffe-Id X-Peer-Identity CT-Remote-User
    X-Rh-Identity X-Certificate X-Middleware-Subrequest X-Sendfile-Type X-Accel-Mapping
    X-Target-Host X-Forward-For Dapr-App-Id Ms-AspNetCore-Token`.split(/\s+/);
const SPELLINGS: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => name.toLowerCase(),
  (name) => name.toUpperCase(),
  (name) => name.replaceAll('-', '_'),
  (name) => name.toLowerCase().replace('-', '_'),
  (name) =>
    name
      .split('')
      .map((letter, i) => (i % 2 === 0 ? letter.toLowerCase() : letter.toUpperCase()))
      .join(''),
];

export const HEADERS: readonly Attack[] = [
  {
    row: 'H1',
    title: 'claims about who is asking stop here, in every spelling',
    attempts: SPELLINGS.flatMap((spell) => [
      { fields: CLAIMS.map((name) => `${spell(name)}: evil`) },
      { fields: MORE_CLAIMS.map((name) => `${spell(name)}: evil`) },
    ]),
    expect: nothing,
  },
  {
    row: 'H1',
    title: 'what only looks like a claim passes',
    facet: 'path',
    attempts: [
      'X-Request-Id',
      'X-Tenant',
      'X-Api-Key',
      'X-Amz-Date',
      'X-Client-Version',
      'X-User-Agent',
    ].map((name) => ({ fields: [`${name}: good`] })),
    expect: passed({ sent: [/: good\r$/m] }),
  },
  {
    row: 'H10',
    title: 'what Connection takes away is no fact for a condition',
    world: dry('request.header("x-dry-run") == ["true"]'),
    attempts: [
      { fields: ['X-Dry-Run: true', 'Connection: x-dry-run'] },
      { fields: ['Connection: close, X-DRY-RUN', 'X-Dry-Run: true'] },
      { fields: ['Connection: keep-alive', 'X-Dry-Run: true', 'Connection: x-other , x-dry-run'] },
    ],
    expect: refused('denied'),
    at: { connect: passed(), streams: MALFORMED },
  },
  {
    row: 'H10',
    title: 'what is not sent is no fact for a condition',
    world: dry(
      'request.headers.exists(h, h.name in ["x-forwarded-proto", "x-real-ip", ' +
        '"x-task-mode", "te", "x-ssl-on", "expect", "via"])',
    ),
    attempts: fields(
      'X-Forwarded-Proto: https',
      'X-Real-IP: 10.0.0.1',
      'X-Task-Mode: dry',
      'TE: trailers',
      'X-SSL-On: yes',
      'X-Dry-Run: true',
    ),
    expect: refused('denied'),
    at: { connect: passed() },
  },
  {
    row: 'H11',
    title: 'another spelling of what a condition reads is not sent beside it',
    world: FORBIDDING,
    attempts: fields('X_Forbid: 1', 'x.forbid: 1', 'X!FORBID: 1', 'x~forbid: evil'),
    expect: refused('ambiguous', { reason: /"x-forbid", which a condition of destination/ }),
    at: { connect: passed() },
  },
  {
    row: 'H11',
    title: 'other names are left alone, whatever is in them',
    world: FORBIDDING,
    facet: 'path',
    attempts: fields('X_Other: %5f', 'X-Forbidden: x_forbid', 'xforbid: 1'),
    expect: passed(),
  },
  {
    row: 'H10',
    title: 'what is sent is what a condition is given',
    world: dry('request.header("x-dry-run") == ["true"]'),
    facet: 'path',
    attempts: fields('X-Dry-Run: true', 'x-DRY-run: true'),
    expect: passed({ sent: [/^x-dry-run: true\r$/m] }),
  },
  {
    row: 'H2',
    title: 'Connection may not take away what is not for one hop',
    attempts: fields(
      'Connection: Host',
      'Connection: close, Authorization',
      'Connection: authorization,close',
      'Connection: Cookie',
      'Connection: Content-Length',
      'Connection: content-type',
      'Connection: Transfer-Encoding',
      'Connection: X-SPIFFE-ID',
      'Connection: x_spiffe_id',
      'Connection: X-Task-Id',
      'Connection: Chaperone-Decision',
      'Connection: Via',
      'Connection: Origin',
      'Connection: Expect',
      'Connection: keep-alive, HOST',
    ),
    expect: refused('malformed'),
    at: { connect: passed() },
  },
  {
    row: 'H2',
    title: 'Connection is a list of tokens',
    attempts: fields(
      'Connection: a b',
      'Connection: close,,x y',
      'Connection: "close"',
      'Connection: a;b',
    ),
    expect: refused('malformed'),
  },
  {
    row: 'H2',
    title: 'empty members of Connection are none, and hide none of the others',
    attempts: fields(
      'Connection: ,',
      'Connection:',
      'Connection: ,,x-secret\r\nX-Secret: 1',
      'Connection: x-secret ,,\r\nX-Secret: 1',
    ),
    expect: passed({ unsent: [/x-secret/i] }),
    at: { streams: MALFORMED },
  },
  {
    row: 'H2',
    title: 'what Connection names is for this hop alone',
    attempts: [
      { fields: ['Connection: X-Evil', 'X-Evil: 1'] },
      { fields: ['X-Evil: 1', 'Connection: keep-alive, x-eviL'] },
      { fields: ['Connection: x-evil', 'Connection: x-evil-2', 'X-Evil: 1', 'X-Evil-2: 2'] },
    ],
    expect: nothing,
    at: { streams: MALFORMED },
  },
  {
    row: 'H3',
    title: 'a task reference that is no live task is never no task',
    attempts: fields(
      'Proxy-Authorization: Basic dDpz',
      'Proxy-Authorization: Bearer x',
      'Proxy-Authorization:',
      'proxy-authorization: x',
      'PROXY-AUTHORIZATION: Basic ',
      'Proxy-Authorization: Basic !!!',
      'Proxy-Authorization: Negotiate evil',
    ),
    expect: refused('task-unknown'),
  },
  {
    row: 'H3',
    title: 'Proxy_Authorization and its kin go no further',
    attempts: fields(
      'Proxy_Authorization: evil',
      'Proxy-Authenticate: evil',
      'Proxy-Authentication-Info: evil',
      'proxy_authenticate: evil',
    ),
    expect: nothing,
  },
  {
    row: 'H4',
    title: 'hop-by-hop fields',
    attempts: fields(
      'Keep-Alive: evil',
      'Proxy-Connection: evil',
      'TE: evil',
      'TE: trailers, evil',
      'HTTP2-Settings: evil',
    ),
    expect: nothing,
    at: { streams: MALFORMED },
  },
  {
    row: 'H4',
    title: 'fields about a hop that HTTP/2 does not know as such',
    attempts: fields('Keep_Alive: evil', 'Trailer: evil', 'Proxy: http://evil.example'),
    expect: nothing,
  },
  {
    row: 'H4',
    title: 'what is written anew by us is not taken over',
    facet: 'path',
    attempts: [{ fields: ['Via: 1.1 evil-proxy'] }, { fields: ['X-Ordinary: 1', 'Accept: */*'] }],
    expect: passed({
      sent: [/^via: .*1\.1 chaperone-[0-9a-f]{12}\r$/m],
      unsent: [/^connection: (keep-alive|close)/im],
    }),
  },
  {
    row: 'H5',
    title: 'no field turns enforcement off',
    attempts: [
      'X-IBAC-Judge: 1',
      'X-Chaperone-Bypass: true',
      'X-Chaperone-Mode: report',
      'X-Policy: allow',
      'X-Debug: 1',
      'X-Internal: true',
      'X-Forwarded-For: 127.0.0.1',
      'X-Forwarded-Host: crm.internal',
      'Forwarded: host=crm.internal;for=127.0.0.1',
      'X-SPIFFE-ID: spiffe://example.org/admin',
      'Authorization: Bearer admin',
      'Cookie: admin=1',
    ].map((line) => ({ authority: 'evil.example', fields: [line] })),
    expect: refused('denied'),
    at: ELSEWHERE,
  },
  {
    row: 'H6',
    title: 'fields that count once are not there twice',
    attempts: [
      'Authorization: Bearer a',
      'Content-Type: a/b',
      'User-Agent: a',
      'Referer: http://a/',
      'Range: bytes=0-1',
      'If-Range: a',
      'Idempotency-Key: a',
      'X-Api-Key: a',
      'Date: x',
    ].flatMap((line) => [
      { fields: [line, line] },
      { fields: [line, 'X: y', line.replace(/^[^:]*/, (name) => name.toUpperCase())] },
    ]),
    expect: refused('ambiguous'),
    at: { connect: passed() },
  },
  {
    row: 'H6',
    title: 'the same in another spelling is not sent beside it',
    attempts: [
      { fields: ['Content-Type: a/b', 'content_type: evil'] },
      { fields: ['content_type: evil', 'Content-Type: a/b'] },
      { fields: ['User_Agent: evil'] },
      { fields: ['X_Api_Key: evil', 'X-Api-Key: good'] },
    ],
    expect: nothing,
  },
  {
    row: 'H7',
    title: 'Max-Forwards that ran out',
    facet: 'method',
    attempts: [
      { method: 'OPTIONS', fields: ['Max-Forwards: 0'] },
      { method: 'OPTIONS', fields: ['Max-Forwards: 000'] },
    ],
    expect: refused('loop'),
  },
  {
    row: 'H7',
    title: 'Max-Forwards that is no number',
    facet: 'method',
    attempts: ['-1', '+1', '1.0', 'x', '', '1, 1', '0x1', '99999999999'].map((value) => ({
      method: 'OPTIONS',
      fields: [`Max-Forwards: ${value}`],
    })),
    expect: refused('malformed'),
  },
  {
    row: 'H7',
    title: 'Max-Forwards counts down',
    facet: 'method',
    attempts: [{ method: 'OPTIONS', fields: ['Max-Forwards: 5'] }],
    expect: passed({ sent: [/^max-forwards: 4\r$/m] }),
  },
  {
    row: 'H7',
    title: 'a request that has been here is not sent round again',
    attempts: fields('Via: 1.1 chaperone-0', 'Via: 1.0 a, 1.1 b, 1.1 c', 'Max-Forwards: 0'),
    expect: passed(),
  },
  {
    row: 'H8',
    title: "the agent's Authorization is replaced, never sent beside ours",
    world: { token: TOKEN, destination: { credential: { kind: 'jwt-svid', audience: 'crm' } } },
    attempts: fields(
      'Authorization: Bearer evil',
      'authorization: Basic evil',
      'AUTHORIZATION: evil',
      'Authorization:',
      'X-Nothing: 1',
    ),
    expect: passed({
      sent: [new RegExp(`^authorization: Bearer ${TOKEN}\\r$`, 'm')],
      unsent: [/evil/i, /^authorization[^]*^authorization/im],
    }),
  },
  {
    row: 'H9',
    title: 'too many fields, too long fields, too long heads',
    attempts: [
      { fields: Array.from({ length: 130 }, (_, i) => `X-${i}: y`) },
      { fields: Array.from({ length: 2500 }, () => 'X: y') },
      { fields: [`X-A: ${'b'.repeat(17_000)}`] },
      { fields: [`X-A: ${'b'.repeat(65_536)}`] },
      { fields: [`X-${'a'.repeat(17_000)}: b`] },
      { fields: Array.from({ length: 100 }, (_, i) => `X-${i}: ${'y'.repeat(400)}`) },
      { fields: [`Cookie: ${'c=d; '.repeat(5000)}`] },
      {
        fields: [
          ...Array.from({ length: 127 }, (_, i) => `X-${i}: y`),
          'Authorization: a',
          'Authorization: b',
        ],
      },
    ],
    expect: refused('head-too-large'),
  },
  {
    row: 'F11',
    title: 'method and path overrides',
    attempts: fields(
      'X-HTTP-Method-Override: DELETE',
      'X-HTTP-Method: DELETE',
      'X-Method-Override: DELETE',
      'x_http_method_override: DELETE',
      'X_HTTP_METHOD: DELETE',
      'X-Original-URL: /admin',
      'X-Original-URI: /admin',
      'X-Rewrite-URL: /admin',
      'x_rewrite_url: /admin',
      'X-Original-Method: DELETE',
      'X-Envoy-Original-Path: /admin',
      'X.Rewrite.URL: /admin',
      'X-Original-Path: /admin',
    ),
    expect: refused('ambiguous'),
    at: { connect: passed() },
  },
  {
    row: 'S14',
    title: 'a proxy named by the agent is nobody’s proxy',
    attempts: fields('Proxy: http://evil.example:3128', 'PROXY: evil', 'proxy: evil'),
    expect: nothing,
  },
  {
    row: 'T4',
    title: 'upgrades to anything that could not be judged are declined, and stop here',
    facet: 'fields',
    attempts: [
      'h2c',
      'TLS/1.0',
      'evil, h2c',
      ',h2c,,',
      'HTTP/2.0',
      'connect-udp',
      'web socket',
      '"websocket"',
    ].map((protocol) => ({
      fields: ['Connection: upgrade', `Upgrade: ${protocol}`],
    })),
    expect: passed({ unsent: [/upgrade/i, DECLINED, /websocket/i] }),
    at: { streams: MALFORMED, ...WEBSOCKETS },
  },
  {
    row: 'T5',
    title: 'h2c is declined, and stops here',
    attempts: [
      {
        fields: [
          'Connection: Upgrade, HTTP2-Settings',
          'Upgrade: h2c',
          'HTTP2-Settings: AAMAAABkAAQAAP__',
        ],
      },
      { fields: ['Connection: HTTP2-Settings, upgrade', 'Upgrade: H2C', 'HTTP2-Settings: AA'] },
      { fields: ['Connection: , upgrade,,', 'Upgrade: h2c,', 'HTTP2-Settings: AA'] },
    ],
    expect: passed({ unsent: [/upgrade/i, DECLINED] }),
    at: { streams: MALFORMED, ...WEBSOCKETS },
  },
  {
    row: 'T5',
    title: 'prior knowledge',
    facet: 'method',
    only: ['forward', 'listener', 'intercepted'],
    attempts: [
      { method: 'PRI', target: '*', version: '2.0', host: [], body: 'SM\r\n\r\n' },
      { method: 'PRI', target: '*', version: '2.0', body: 'SM\r\n\r\n\0\0\0\x04\0\0\0\0\0' },
    ],
    expect: refused('malformed'),
  },
  {
    row: 'T2',
    title: 'plain requests are held to the rules like everything else',
    world: {
      destination: { rules: [rule('read', 'allow', { methods: ['GET'], paths: ['/v1/**'] })] },
    },
    attempts: [
      { method: 'POST', path: '/v1/x', fields: ['Content-Length: 0'] },
      { method: 'DELETE', path: '/v1/x' },
      { path: '/v2' },
      { path: '/' },
    ],
    expect: refused('denied'),
  },
];
